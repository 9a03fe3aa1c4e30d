//! `/v1/nodes`: members, what people decide about them, and their removal.

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;

use swarm_model::command::Op;
use swarm_model::id::RequestId;
use swarm_model::meta::Version;
use swarm_model::node::{Availability, Node, NodeSpec, Role};
use swarm_model::outcome::Rejection;
use swarm_model::units::Timestamp;

use super::answer;
use super::backend::{Applied, ProposeError};
use super::consistency::Read;
use super::errors::ApiError;
use super::filters::Filters;
use super::guards::{IfRevision, IfVersion};
use super::request::{GUARD, Json, Params, Write};
use super::resolve;
use super::state::Api;
use super::types::{ErrorBody, ManagerStatus, NodeEntry, NodeUpdate, Written};
use super::written;

/// Filters of the list; `name` and `id` match prefixes, `label` both kinds of labels.
const FILTERS: &[&str] =
    &["availability", "engine.label", "id", "label", "membership", "name", "node.label", "role"];
/// How often a change without a version is decided anew when the node changed meanwhile.
const ATTEMPTS: u128 = 8;

fn entry(api: &Api, read: &Read, node: &Node) -> NodeEntry {
    let consensus = api.backend.consensus();
    let leader = read.leader(&consensus);
    let this = api.backend.facts().node_id;
    let voter = consensus.voters.contains(&node.id);
    let is_heard = || node.id == this || api.backend.heard().contains(&node.id);
    let is_manager = node.spec.role == Role::Manager;
    NodeEntry {
        node: node.clone(),
        manager_status: is_manager
            .then(|| manager_status(leader == Some(node.id), is_heard(), voter)),
        voter,
        quarantine: api.backend.quarantined().remove(&node.id),
        is_self: node.id == this,
    }
}

fn manager_status(leads: bool, is_heard: bool, votes: bool) -> ManagerStatus {
    match (leads, is_heard, votes) {
        (true, _, _) => ManagerStatus::Leader,
        (false, false, _) => ManagerStatus::Unreachable,
        (false, true, true) => ManagerStatus::Reachable,
        (false, true, false) => ManagerStatus::Standby,
    }
}

/// Lists nodes.
#[utoipa::path(get, path = "/v1/nodes", tag = "nodes",
    params(("filters" = Option<String>, Query, description =
            "keys: availability, engine.label, id, label, membership, name, node.label, role"),
        ("stale" = Option<bool>, Query)),
    responses((status = 200, description = "by host name", body = [NodeEntry]),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn list(
    State(api): State<Api>,
    params: Params,
    read: Read,
) -> Result<Response, ApiError> {
    let filters = params.allow(&["filters", "stale"])?.text("filters");
    let filters = Filters::parse(filters, FILTERS)?;
    let (roles, availabilities) =
        (filters.words::<Role>("role")?, filters.words::<Availability>("availability")?);
    let wanted = |node: &&Node| {
        filters.prefix("id", &node.id.to_string())
            && filters.prefix("name", &node.description.hostname)
            && filters.labels("label", &[&node.spec.labels, &node.description.labels])
            && filters.labels("node.label", &[&node.spec.labels])
            && filters.labels("engine.label", &[&node.description.labels])
            && roles.admit(&node.spec.role)
            && availabilities.admit(&node.spec.availability)
            && filters.any("membership", |value| value == "accepted")
    };
    let mut found: Vec<_> = read.view.nodes.values().map(AsRef::as_ref).filter(wanted).collect();
    found.sort_by_key(|node| (&node.description.hostname, node.id));
    let found: Vec<_> = found.into_iter().map(|node| entry(&api, &read, node)).collect();
    Ok(read.answer(&found))
}

/// Shows one node.
#[utoipa::path(get, path = "/v1/nodes/{ref}", tag = "nodes",
    params(("ref" = String, Path,
            description = "id, host name, unique prefix of the id, or self"),
        ("stale" = Option<bool>, Query)),
    responses((status = 200, description = "the node", body = NodeEntry),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn inspect(
    State(api): State<Api>,
    Path(reference): Path<String>,
    params: Params,
    read: Read,
) -> Result<Response, ApiError> {
    params.allow(&["stale"])?;
    let this = api.backend.facts().node_id;
    let node = read.found(resolve::node(&read.view, &reference, this))?;
    Ok(read.answer(&entry(&api, &read, node)))
}

/// Changes role, availability and labels of a node. Without a version it is decided anew when the node
/// changed meanwhile.
#[utoipa::path(post, path = "/v1/nodes/{ref}/update", tag = "nodes", request_body = NodeUpdate,
    params(("ref" = String, Path,
            description = "id, host name, unique prefix of the id, or self"),
        IfVersion, IfRevision),
    responses((status = 200, description = "changed", body = Written),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn update(
    State(api): State<Api>,
    Path(reference): Path<String>,
    params: Params,
    write: Write,
    Json(update): Json<NodeUpdate>,
) -> Result<Response, ApiError> {
    let version = params.allow(&["version", GUARD])?.version()?;
    let this = api.backend.facts().node_id;
    let now = api.backend.now();
    let find = |view: &_| resolve::node(view, &reference, this).cloned();
    let mut node = api.settle(&reference, find).await?;
    for attempt in 0.. {
        let (op, warnings) = op(&node, &update, now, version)?;
        // A refusal is remembered for its request id, so each attempt has its own.
        let request = RequestId::from_raw(write.request.raw().wrapping_add(attempt));
        match api.try_propose(&write, request, op).await {
            Ok(Applied { revision, done }) => {
                let mut answer = written::of(&Applied { revision, done }, node.id);
                answer.warnings = warnings;
                return Ok(answer::json(StatusCode::OK, &answer));
            }
            Err(ProposeError::Rejected(Rejection::VersionConflict { have, .. }))
                if version.is_none() && attempt < ATTEMPTS =>
            {
                let view = api.view_at(swarm_model::meta::Revision(have.0)).await;
                node = find(&view)?;
            }
            Err(error) => return Err(api.refused(error)),
        }
    }
    Err(ApiError::internal("the attempts are counted"))
}

/// The command that makes `update` of a node at `version`, or as it is, and what is worth a warning.
pub(super) fn op(
    node: &Node,
    update: &NodeUpdate,
    now: Timestamp,
    version: Option<Version>,
) -> Result<(Op, Vec<String>), ApiError> {
    let (spec, drain_deadline, warnings) = change(node, update, now)?;
    let version = Some(version.unwrap_or(node.meta.version));
    Ok((Op::UpdateNode { id: node.id, version, spec, drain_deadline }, warnings))
}

type Changed = (NodeSpec, Option<Timestamp>, Vec<String>);

/// What `update` makes of a node: its new spec, the drain's deadline, and what is worth a warning.
fn change(node: &Node, update: &NodeUpdate, now: Timestamp) -> Result<Changed, ApiError> {
    let mut spec = node.spec.clone();
    spec.role = update.role.unwrap_or(spec.role);
    spec.availability = update.availability.unwrap_or(spec.availability);
    if update.drain_deadline_ms.is_some() && spec.availability != Availability::Drain {
        let message = "DrainDeadlineMs: only a node that is drained has one; set Availability, too";
        return Err(ApiError::invalid(message));
    }
    let mut warnings = Vec::new();
    for key in &update.labels_remove {
        if spec.labels.remove(key).is_none() {
            warnings.push(format!("label {key} was not set"));
        }
    }
    spec.labels.extend(update.labels_add.clone());
    let span = update.drain_deadline_ms.map(std::time::Duration::from_millis);
    Ok((spec, span.map(|span| now.after(span)), warnings))
}

/// Removes a node for ever: it has to be down, unless forced.
#[utoipa::path(delete, path = "/v1/nodes/{ref}", tag = "nodes",
    params(("ref" = String, Path, description = "id, host name, or unique prefix of the id"),
        ("force" = Option<bool>, Query, description = "also when it is not down: cuts it off"),
        IfRevision),
    responses((status = 200, description = "removed", body = Written),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn remove(
    State(api): State<Api>,
    Path(reference): Path<String>,
    params: Params,
    write: Write,
) -> Result<Response, ApiError> {
    let force = params.allow(&["force", GUARD])?.switch("force")?.unwrap_or(false);
    let this = api.backend.facts().node_id;
    let find = |view: &_| resolve::node(view, &reference, this).map(|node| node.id);
    let id = api.settle(&reference, find).await?;
    if id == this {
        let message = "a node does not remove itself: let it leave with `swarm leave`, or ask \
                       another node";
        return Err(ApiError::conflict(message));
    }
    let applied = api.propose(&write, Op::RemoveNode { id, force }).await?;
    Ok(answer::json(StatusCode::OK, &written::of(&applied, id)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use swarm_model::id::NodeId;
    use swarm_model::meta::Meta;
    use swarm_model::node::{NodeDescription, NodeStatus};

    fn node(availability: Availability) -> Node {
        let labels = BTreeMap::from([("zone".to_owned(), "a".to_owned())]);
        Node {
            id: NodeId::from_raw(1),
            meta: Meta::default(),
            spec: NodeSpec { role: Role::Manager, availability, labels },
            description: NodeDescription::default(),
            status: NodeStatus::default(),
            drain: None,
        }
    }

    #[test]
    fn a_manager_that_is_heard_and_has_no_vote_stands_by() {
        assert_eq!(manager_status(true, true, true), ManagerStatus::Leader);
        assert_eq!(manager_status(false, true, true), ManagerStatus::Reachable);
        assert_eq!(manager_status(false, true, false), ManagerStatus::Standby);
        assert_eq!(manager_status(false, false, true), ManagerStatus::Unreachable);
        assert_eq!(manager_status(false, false, false), ManagerStatus::Unreachable);
    }

    #[test]
    fn what_an_update_does_not_name_stays() {
        let update = NodeUpdate { role: Some(Role::Worker), ..NodeUpdate::default() };
        let before = node(Availability::Pause);
        let (spec, deadline, warnings) =
            change(&before, &update, Timestamp::default()).expect("valid");
        assert_eq!(spec, NodeSpec { role: Role::Worker, ..before.spec });
        assert_eq!((deadline, warnings), (None, vec![]));
    }

    #[test]
    fn labels_are_replaced_and_unknown_ones_warned_of() {
        let update = NodeUpdate {
            labels_add: BTreeMap::from([("ssd".to_owned(), "yes".to_owned())]),
            labels_remove: vec!["zone".to_owned(), "gpu".to_owned()],
            ..NodeUpdate::default()
        };
        let changed = change(&node(Availability::Active), &update, Timestamp::default());
        let (spec, _, warnings) = changed.expect("valid");
        assert_eq!(spec.labels, update.labels_add);
        assert_eq!(warnings, ["label gpu was not set"]);
    }

    #[test]
    fn only_a_drain_has_a_deadline() {
        let update = NodeUpdate { drain_deadline_ms: Some(5000), ..NodeUpdate::default() };
        let now = Timestamp::from_millis(1000);
        assert!(change(&node(Availability::Active), &update, now).is_err());
        let (_, deadline, _) = change(&node(Availability::Drain), &update, now).expect("valid");
        assert_eq!(deadline, Some(Timestamp::from_millis(6000)));
    }
}
