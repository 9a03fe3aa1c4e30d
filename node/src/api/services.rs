//! `/v1/services`: declared services, how far the cluster is with them, and why not further.

use std::collections::BTreeSet;

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;

use swarm_model::command::Op;
use swarm_model::id::{NodeId, ServiceId};
use swarm_model::meta::Revision;
use swarm_model::node::{Availability, Node, Reachability};
use swarm_model::outcome::{Kind, Rejection};
use swarm_model::resources::DEVICE_PREFIX;
use swarm_model::service::{Service, ServiceMode, ServiceSpec};
use swarm_model::task::{Slot, Task};
use swarm_model::task_state::{DesiredState, ObservedState};
use swarm_model::units::Timestamp;
use swarm_model::view::View;

use super::answer;
use super::change::Change;
use super::consistency::Read;
use super::errors::ApiError;
use super::filters::Filters;
use super::guards::{IfRevision, IfVersion};
use super::request::{GUARD, Json, Params, Write};
use super::resolve;
use super::runs;
use super::state::Api;
use super::types::{ErrorBody, ServiceCounts, ServiceEntry, Written};
use super::updates;
use super::written;

/// Filters of the list; `name` and `id` match prefixes.
const FILTERS: &[&str] = &["id", "label", "mode", "name"];

/// Tasks of a service in numbers. A slot counts once, however many tasks stand in it meanwhile.
pub(super) fn counts(view: &View, service: &Service) -> ServiceCounts {
    let wanted = |task: &&&Task| task.desired <= DesiredState::Running;
    let tasks: Vec<&Task> = view.tasks_of(service.id).map(AsRef::as_ref).collect();
    let reachable = |task: &&&Task| {
        let node = task.node.and_then(|id| view.nodes.get(&id));
        node.is_some_and(|node| node.status.reachability != Reachability::Down)
    };
    let running = |task: &&&Task| task.status.state == ObservedState::Running;
    let current = |task: &&&Task| task.template_version == service.template_version;
    let runs = || tasks.iter().filter(wanted).filter(running).filter(reachable);
    let run = view.current_run(service.id);
    ServiceCounts {
        running_tasks: slots(runs()),
        desired_tasks: match service.spec.mode {
            ServiceMode::Replicated { replicas } => replicas,
            ServiceMode::Global {} => eligible(view, service, &tasks),
            ServiceMode::ReplicatedJob { completions, .. } => {
                run.map_or(completions, |run| run.completions)
            }
            ServiceMode::GlobalJob {} => run.map_or(0, |run| run.completions),
        },
        updated_tasks: slots(runs().filter(current)),
        completed_tasks: run.map_or(0, |run| run.succeeded.count()),
    }
}

fn slots<'a>(tasks: impl Iterator<Item = &'a &'a Task>) -> u32 {
    let slots: BTreeSet<Slot> = tasks.map(|task| task.slot).collect();
    u32::try_from(slots.len()).unwrap_or(u32::MAX)
}

/// Nodes that a global service wants a task on.
fn eligible(view: &View, service: &Service, tasks: &[&Task]) -> u32 {
    let placed: BTreeSet<NodeId> =
        tasks.iter().filter(|task| task.is_active()).filter_map(|task| task.node).collect();
    let wants = |node: &&std::sync::Arc<Node>| {
        let open = match node.spec.availability {
            Availability::Active => true,
            // Keeps what it has.
            Availability::Pause => placed.contains(&node.id),
            Availability::Drain => false,
        };
        let constraints = &service.template.placement.constraints;
        open && node.status.reachability != Reachability::Down
            && constraints.iter().all(|constraint| constraint.allows(node))
    };
    u32::try_from(view.nodes.values().filter(wants).count()).unwrap_or(u32::MAX)
}

fn entry(view: &View, service: &Service, now: Timestamp) -> ServiceEntry {
    ServiceEntry {
        service: service.clone(),
        service_status: counts(view, service),
        update_status: service.update.as_ref().map(updates::status),
        run_status: view
            .current_run(service.id)
            .map(|run| runs::Tally::of(view, service).entry(run)),
        next_run_at: runs::next(service, now),
    }
}

/// Lists services.
#[utoipa::path(get, path = "/v1/services", tag = "services",
    params(("filters" = Option<String>, Query, description = "keys: id, label, mode, name"),
        ("stale" = Option<bool>, Query)),
    responses((status = 200, description = "by name", body = [ServiceEntry]),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn list(
    State(api): State<Api>,
    params: Params,
    read: Read,
) -> Result<Response, ApiError> {
    let filters = params.allow(&["filters", "stale"])?.text("filters");
    let filters = Filters::parse(filters, FILTERS)?;
    let modes = ["replicated", "global", "replicated-job", "global-job"];
    if let Some(mode) = filters.values("mode").iter().find(|mode| !modes.contains(&mode.as_str())) {
        let message = format!("filter mode: \"{mode}\" is not one of: {}", modes.join(", "));
        return Err(ApiError::invalid(message));
    }
    let wanted = |service: &&Service| {
        filters.prefix("id", &service.id.to_string())
            && filters.prefix("name", service.spec.name.as_str())
            && filters.labels("label", &[&service.spec.labels])
            && filters.any("mode", |mode| mode == service.spec.mode.word())
    };
    let view = &read.view;
    let by_name = view.service_names.values().filter_map(|id| view.services.get(id));
    let found = by_name.map(AsRef::as_ref).filter(wanted);
    let now = api.backend.now();
    Ok(read.answer(&found.map(|service| entry(view, service, now)).collect::<Vec<_>>()))
}

/// Shows one service.
#[utoipa::path(get, path = "/v1/services/{ref}", tag = "services",
    params(("ref" = String, Path, description = "id, name, or unique prefix of the id"),
        ("stale" = Option<bool>, Query)),
    responses((status = 200, description = "the service", body = ServiceEntry),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn inspect(
    State(api): State<Api>,
    Path(reference): Path<String>,
    params: Params,
    read: Read,
) -> Result<Response, ApiError> {
    params.allow(&["stale"])?;
    let service = read.found(resolve::service(&read.view, &reference))?;
    Ok(read.answer(&entry(&read.view, service, api.backend.now())))
}

/// Refuses what can never be declared.
///
/// # Errors
/// With the first field that is wrong.
pub(super) fn validate(spec: &ServiceSpec) -> Result<(), ApiError> {
    let invalid = |error| ApiError::from(Rejection::Invalid { kind: Kind::Service, error });
    spec.validate().map_err(invalid)?;
    runs::check_zone(spec).map_err(invalid)
}

/// Declares a service. Answers when that is committed; its tasks follow.
#[utoipa::path(post, path = "/v1/services/create", tag = "services", request_body = ServiceSpec,
    params(IfRevision),
    responses((status = 201, description = "declared", body = Written),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn create(
    State(api): State<Api>,
    params: Params,
    write: Write,
    Json(spec): Json<ServiceSpec>,
) -> Result<Response, ApiError> {
    params.allow(&[GUARD])?;
    validate(&spec)?;
    let id = ServiceId::from_raw(api.backend.draw_id());
    let applied = api.propose(&write, Op::CreateService { id, spec: Box::new(spec) }).await?;
    let answer = with_warnings(&api, written::of(&applied, id)).await;
    Ok(answer::json(StatusCode::CREATED, &answer))
}

/// Declares a service anew.
#[utoipa::path(post, path = "/v1/services/{ref}/update", tag = "services",
    request_body = ServiceSpec,
    params(("ref" = String, Path, description = "id, name, or unique prefix of the id"),
        IfVersion, IfRevision),
    responses((status = 200, description = "declared", body = Written),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn update(
    State(api): State<Api>,
    change: Change,
    params: Params,
    Json(spec): Json<ServiceSpec>,
) -> Result<Response, ApiError> {
    let version = params.allow(&["version", GUARD])?.version()?;
    validate(&spec)?;
    let op = |id| Op::UpdateService { id, version, spec: Box::new(spec), steered: true };
    let answer = with_warnings(&api, change.service(op).await?).await;
    Ok(answer::json(StatusCode::OK, &answer))
}

/// Says what already now is known to stand in the way.
async fn with_warnings(api: &Api, mut answer: Written) -> Written {
    let view = api.view_at(Revision(answer.version.0)).await;
    let service = answer.id.parse().ok().and_then(|id: ServiceId| view.services.get(&id));
    if let Some(service) = service {
        answer.warnings.extend(obstacle(&view, service));
    }
    answer
}

/// A sentence when no node at all could take a task of the service.
fn obstacle(view: &View, service: &Service) -> Option<String> {
    let constraints = &service.template.placement.constraints;
    let allowed =
        |node: &&std::sync::Arc<Node>| constraints.iter().all(|constraint| constraint.allows(node));
    let reserved = &service.template.resources.reservations;
    let mut fitting = view.nodes.values().filter(allowed).peekable();
    if fitting.peek().is_none() {
        let rules: Vec<_> = constraints.iter().map(ToString::to_string).collect();
        return Some(format!("no node meets the constraints ({})", rules.join(", ")));
    }
    let offered = |kind: &String| {
        view.nodes.values().any(|node| node.description.resources.generic(kind) > 0)
    };
    if let Some(kind) = reserved.generic.keys().find(|kind| !offered(kind)) {
        let option = match kind.strip_prefix(DEVICE_PREFIX) {
            Some(class) => format!("--device {class}=PATH"),
            None => format!("--generic-resource {kind}=N"),
        };
        return Some(format!("no node offers {kind}: start one with `swarm daemon {option}`"));
    }
    let mut fitting = fitting.filter(|node| node.description.resources.covers(reserved)).peekable();
    if fitting.peek().is_none() {
        let (cpu, memory) = (reserved.cpu, reserved.memory);
        let generic = reserved.generic.iter().map(|(kind, count)| format!(", {count} of {kind}"));
        let generic: String = generic.collect();
        return Some(format!(
            "no node is large enough for {cpu} CPUs, {memory} of memory{generic}"
        ));
    }
    if !fitting.any(|node| node.takes_tasks()) {
        return Some("every node that fits is paused, drained or not heard from".to_owned());
    }
    None
}

/// Ends a service: its tasks are stopped, then it is deleted. Its name is free at once.
#[utoipa::path(delete, path = "/v1/services/{ref}", tag = "services",
    params(("ref" = String, Path, description = "id, name, or unique prefix of the id"),
        IfRevision),
    responses((status = 200, description = "being removed", body = Written),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn remove(change: Change, params: Params) -> Result<Response, ApiError> {
    params.allow(&[GUARD])?;
    let done = change.service(|id| Op::RemoveService { id }).await?;
    Ok(answer::json(StatusCode::OK, &done))
}
