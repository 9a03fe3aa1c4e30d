//! `/v1/tasks`: single runs of services, past ones included.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;

use swarm_model::id::{NodeId, ServiceId};
use swarm_model::service::Service;
use swarm_model::task::{Eviction, Task};
use swarm_model::task_state::DesiredState;
use swarm_model::units::Timestamp;
use swarm_model::view::View;

use super::consistency::Read;
use super::errors::ApiError;
use super::filters::{Filters, Words};
use super::hostnames::Shared;
use super::request::Params;
use super::resolve;
use super::state::Api;
use super::types::{ErrorBody, Outlook, TaskEntry};

/// Filters of the list; `name` and `id` match prefixes, `service` and `node` are references; a `node`
/// that means several takes all of them.
const FILTERS: &[&str] = &["desired-state", "id", "label", "name", "node", "service"];

/// How lists show a task: `web.1`, or `agent.NODE` for a global service.
pub(super) fn name(view: &View, task: &Task) -> String {
    match view.services.get(&task.service) {
        Some(service) => name_in(service, task),
        None => format!("{}.{}", task.service, task.slot),
    }
}

fn name_in(service: &Service, task: &Task) -> String {
    format!("{}.{}", service.spec.name, task.slot)
}

/// How a task ended, in words; empty when it did not, or nobody saw how.
pub(super) fn end(task: &Task) -> String {
    if !task.status.error.is_empty() {
        return task.status.error.clone();
    }
    match task.status.exit.map(|exit| (exit.code, exit.signal)) {
        Some((Some(code), _)) => format!("exit code {code}"),
        Some((None, Some(signal))) => format!("ended by signal {signal}"),
        Some((None, None)) | None => String::new(),
    }
}

/// For whom a task had to go, in words; empty when it had not.
fn made_room(view: &View, task: &Task) -> String {
    let by = match task.eviction {
        Some(Eviction::Preempted { by }) => by,
        Some(Eviction::Rebalanced { to, .. }) if task.is_active() => {
            let hostname = view.nodes.get(&to).map(|node| node.description.hostname.clone());
            let to = hostname.filter(|name| !name.is_empty()).unwrap_or_else(|| to.short());
            return format!("is to move to {to}");
        }
        Some(Eviction::Rebalanced { .. }) | None => return String::new(),
    };
    let by = view.tasks.get(&by).map_or_else(|| by.to_string(), |other| name(view, other));
    format!("made room for {by}, which is more important")
}

fn entry(view: &View, shared: &Shared<'_>, now: Timestamp, task: &Task) -> TaskEntry {
    let service = view.services.get(&task.service);
    let node = task.node.and_then(|id| view.nodes.get(&id));
    let hostname = node.map_or("", |node| node.description.hostname.as_str());
    let mut task = task.clone();
    let (outlook, note, next_attempt_at) = match swarm_control::outlook(view, &task, now) {
        swarm_control::Outlook::Open => (Outlook::Open, String::new(), None),
        swarm_control::Outlook::Waits { until, reason } => (Outlook::Waits, reason, Some(until)),
        swarm_control::Outlook::Done => (Outlook::Done, String::new(), None),
        swarm_control::Outlook::GivenUp { reason } => (Outlook::GivenUp, reason, None),
    };
    let note = if note.is_empty() { made_room(view, &task) } else { note };
    let held_back = || swarm_control::held_back(view, &task, now).unwrap_or_default();
    let note = if note.is_empty() { held_back() } else { note };
    if matches!(outlook, Outlook::Done | Outlook::GivenUp) {
        // The state keeps Running: that is how a leader knows that nobody asked it to end.
        task.desired = DesiredState::Shutdown;
    }
    TaskEntry {
        name: name(view, &task),
        service_name: service.map_or_else(String::new, |service| service.spec.name.to_string()),
        node_hostname: hostname.to_owned(),
        node_hostname_shared: shared.contains(hostname),
        outlook,
        note,
        next_attempt_at,
        current: service.is_some_and(|it| it.template_version == task.template_version),
        task,
    }
}

/// The desired states as filters write them.
fn desired(word: &str) -> Result<DesiredState, ApiError> {
    match word.to_ascii_lowercase().as_str() {
        "ready" => Ok(DesiredState::Ready),
        "running" => Ok(DesiredState::Running),
        "shutdown" => Ok(DesiredState::Shutdown),
        "remove" => Ok(DesiredState::Remove),
        _ => Err(ApiError::invalid(format!(
            "filter desired-state: \"{word}\" is not one of: ready, running, shutdown, remove"
        ))),
    }
}

/// Services by reference; a full id may also be of one that is being removed.
fn services(view: &View, filters: &Filters) -> Result<BTreeSet<ServiceId>, ApiError> {
    let find = |reference: &String| {
        let known = reference.parse().ok().filter(|id| view.services.contains_key(id));
        known.map_or_else(|| resolve::service(view, reference).map(|service| service.id), Ok)
    };
    filters.values("service").iter().map(find).collect()
}

/// Lists tasks.
#[utoipa::path(get, path = "/v1/tasks", tag = "tasks",
    params(("filters" = Option<String>, Query,
            description = "keys: desired-state, id, label, name, node, service"),
        ("stale" = Option<bool>, Query)),
    responses((status = 200, description = "by service and slot, newest first",
            body = [TaskEntry]),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn list(
    State(api): State<Api>,
    params: Params,
    read: Read,
) -> Result<Response, ApiError> {
    let filters = params.allow(&["filters", "stale"])?.text("filters");
    let filters = Filters::parse(filters, FILTERS)?;
    let view = &read.view;
    let this = api.backend.facts().node_id;
    let states: Words<DesiredState> = filters
        .values("desired-state")
        .iter()
        .map(|word| desired(word))
        .collect::<Result<_, _>>()?;
    let mut nodes = Vec::new();
    for reference in filters.values("node") {
        nodes.extend(resolve::nodes(view, reference, this)?.into_iter().map(Some));
    }
    let nodes: Words<Option<NodeId>> = nodes.into_iter().collect();
    let services = read.found(services(view, &filters))?;
    let candidates: Vec<&Arc<Task>> = if services.is_empty() {
        view.tasks.values().collect()
    } else {
        services.iter().flat_map(|id| view.tasks_of(*id)).collect()
    };
    let wanted = |task: &&&Arc<Task>| {
        nodes.admit(&task.node)
            && filters.prefix("id", &task.id.to_string())
            && (filters.values("name").is_empty() || filters.prefix("name", &name(view, task)))
            && (filters.values("label").is_empty() || labelled(view, &filters, task))
    };
    let (shared, now) = (Shared::of(view), api.backend.now());
    let found = candidates.iter().filter(wanted).map(|task| entry(view, &shared, now, task));
    let mut found: Vec<_> = found.filter(|entry| states.admit(&entry.task.desired)).collect();
    found.sort_by(|a, b| {
        let place = |entry: &TaskEntry| (entry.task.service, entry.task.slot);
        let age = |entry: &TaskEntry| (entry.task.meta.created_at, entry.task.id);
        let by_name = a.service_name.cmp(&b.service_name);
        by_name.then(place(a).cmp(&place(b))).then(age(b).cmp(&age(a)))
    });
    Ok(read.answer(&found))
}

fn labelled(view: &View, filters: &Filters, task: &Task) -> bool {
    let service = view.services.get(&task.service);
    service.is_some_and(|service| filters.labels("label", &[&service.spec.labels]))
}

/// Shows one task.
#[utoipa::path(get, path = "/v1/tasks/{ref}", tag = "tasks",
    params(("ref" = String, Path,
            description = "id, unique prefix of the id, or name like web.1"),
        ("stale" = Option<bool>, Query)),
    responses((status = 200, description = "the task", body = TaskEntry),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn inspect(
    State(api): State<Api>,
    Path(reference): Path<String>,
    params: Params,
    read: Read,
) -> Result<Response, ApiError> {
    params.allow(&["stale"])?;
    let task = read.found(resolve::task(&read.view, &reference))?;
    Ok(read.answer(&entry(&read.view, &Shared::of(&read.view), api.backend.now(), task)))
}
