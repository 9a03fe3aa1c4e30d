//! `/v1/ping`, `/v1/version`, `/v1/info`, `/v1/status`: what this node is, and the cluster on one screen.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use swarm_control::Outlook;
use swarm_model::id::{NodeId, ServiceId};
use swarm_model::job::RunPhase;
use swarm_model::node::{Reachability, Role};
use swarm_model::task::Task;
use swarm_model::units::Timestamp;
use swarm_model::view::View;
use tokio::time::Instant;

use crate::clocks::PeerClock;

use super::answer;
use super::backend::Consensus;
use super::consistency::Read;
use super::errors::ApiError;
use super::request::Params;
use super::services;
use super::state::Api;
use super::tasks;
use super::types::{ClusterStatus, ErrorBody, Info, QuarantinedNode, ReplicaStatus, ShortService};

/// Version of the routes and their JSON.
const API_VERSION: &str = "1";

/// Which program answers.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub(super) struct VersionInfo {
    /// Of the program.
    version: &'static str,
    /// Of the API.
    api_version: &'static str,
    /// Operating system.
    os: &'static str,
    /// Architecture.
    arch: &'static str,
}

/// Says that the daemon serves.
#[utoipa::path(get, path = "/v1/ping", tag = "info",
    responses((status = 200, description = "it serves", body = String)))]
pub(super) async fn ping(params: Params) -> Result<Response, ApiError> {
    params.allow(&[])?;
    Ok(answer::json(StatusCode::OK, &"OK"))
}

/// Says which program answers.
#[utoipa::path(get, path = "/v1/version", tag = "info",
    responses((status = 200, description = "the versions", body = VersionInfo)))]
pub(super) async fn version(params: Params) -> Result<Response, ApiError> {
    params.allow(&[])?;
    let info = VersionInfo {
        version: env!("CARGO_PKG_VERSION"),
        api_version: API_VERSION,
        os: std::env::consts::OS,
        arch: std::env::consts::ARCH,
    };
    Ok(answer::json(StatusCode::OK, &info))
}

/// Shows what this node is. Asks nobody else.
#[utoipa::path(get, path = "/v1/info", tag = "info",
    responses((status = 200, description = "this node", body = Info)))]
pub(super) async fn info(State(api): State<Api>, params: Params) -> Result<Response, ApiError> {
    params.allow(&["stale"])?;
    let consensus = api.backend.consensus();
    Ok(answer::json(StatusCode::OK, &gather_info(&api, &api.backend.view(), &consensus)))
}

fn count(items: impl Iterator) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

fn gather_info(api: &Api, view: &View, consensus: &Consensus) -> Info {
    let facts = api.backend.facts();
    let member = view.nodes.get(&facts.node_id);
    let role = member.map_or(facts.role, |node| node.spec.role);
    Info {
        node_id: facts.node_id,
        cluster_id: facts.cluster_id,
        node_addr: facts.addr,
        hostname: facts.hostname,
        role,
        daemon_pid: std::process::id(),
        control_available: role == Role::Manager,
        leader: consensus.leader,
        term: consensus.term,
        epoch: view.cluster.as_ref().map_or(0, |cluster| cluster.epoch.number),
        revision: view.revision,
        voter: consensus.voters.contains(&facts.node_id),
        quarantine: api.backend.quarantined().remove(&facts.node_id),
        rival: facts.rival,
        data_dir: facts.data_dir.display().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        certificate_expires_at: facts.certificate_expires_at,
        cgroup: facts.cgroup,
        managers: count(view.nodes.values().filter(|node| node.spec.role == Role::Manager)),
        nodes: count(view.nodes.values()),
        disk_bytes_written: facts.disk_bytes_written,
        started_at: facts.started_at,
    }
}

/// Shows the cluster on one screen.
#[utoipa::path(get, path = "/v1/status", tag = "info",
    params(("stale" = Option<bool>, Query)),
    responses((status = 200, description = "the cluster", body = ClusterStatus),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn status(
    State(api): State<Api>,
    params: Params,
    read: Read,
) -> Result<Response, ApiError> {
    params.allow(&["stale"])?;
    let consensus = api.backend.consensus();
    // Whoever answers a read in time has a majority behind it; an asked-for stale read did not try.
    let quorum = !read.stale || (params.text("stale").is_some() && api.barrier().await.is_ok());
    let lag = if quorum { api.backend.lag().await } else { BTreeMap::new() };
    let consensus = Consensus { leader: read.leader(&consensus), ..consensus };
    Ok(read.answer(&gather_status(&api, &read.view, &consensus, quorum, &lag)))
}

/// Shows how far the other members' wall clocks are from this node's; who does not answer is left out.
#[utoipa::path(get, path = "/v1/clocks", tag = "info",
    responses((status = 200, description = "the clocks", body = Vec<PeerClock>)))]
pub(super) async fn clocks(State(api): State<Api>, params: Params) -> Result<Response, ApiError> {
    params.allow(&[])?;
    Ok(answer::json(StatusCode::OK, &api.backend.clocks().await))
}

fn gather_status(
    api: &Api,
    view: &View,
    consensus: &Consensus,
    quorum: bool,
    lag: &BTreeMap<NodeId, u64>,
) -> ClusterStatus {
    let heard = api.backend.heard();
    let info = gather_info(api, view, consensus);
    let hostname = |id: &NodeId| {
        view.nodes.get(id).map_or_else(String::new, |node| node.description.hostname.clone())
    };
    let quarantined =
        |(node_id, reason)| QuarantinedNode { node_id, hostname: hostname(&node_id), reason };
    let replica = |id: &NodeId| ReplicaStatus {
        node_id: *id,
        hostname: hostname(id),
        voter: consensus.voters.contains(id),
        // Of a replica that is silent the leader may only know that it has nothing to tell.
        lag: match consensus.leader == Some(*id) && quorum {
            true => Some(0),
            false => lag.get(id).copied().filter(|_| heard.contains(id)),
        },
    };
    let nodes = |state| view.nodes.values().filter(move |it| it.status.reachability == state);
    let disk_writes = &api.disk_writes;
    ClusterStatus {
        quorum,
        voters: count(consensus.voters.iter()),
        voters_reachable: count(consensus.voters.intersection(&heard)),
        replicas: consensus.voters.union(&consensus.learners).map(replica).collect(),
        nodes_ready: count(nodes(Reachability::Ready)),
        nodes_down: count(nodes(Reachability::Down)),
        nodes_unknown: count(nodes(Reachability::Unknown)),
        services: count(view.service_names.iter()),
        quarantined: api.backend.quarantined().into_iter().map(quarantined).collect(),
        services_short: short_services(view, api.backend.now()),
        disk_bytes_per_day: disk_writes.per_day(Instant::now(), info.disk_bytes_written),
        info,
    }
}

fn short_services(view: &View, now: Timestamp) -> Vec<ShortService> {
    let services = view.service_names.values().filter_map(|id| view.services.get(id));
    let short = services.filter_map(|service| {
        let counts = services::counts(view, service);
        let name = service.spec.name.to_string();
        if service.spec.mode.is_job() {
            // A job is short when it was given up, not while it goes on.
            let run = view.current_run(service.id)?;
            let failed = matches!(run.phase, RunPhase::Failed { .. });
            let reason = run.phase.reason().to_owned();
            let (running, desired) = (run.succeeded.count(), run.completions);
            return failed.then_some(ShortService { name, running, desired, reason });
        }
        (counts.running_tasks < counts.desired_tasks).then(|| ShortService {
            name,
            running: counts.running_tasks,
            desired: counts.desired_tasks,
            reason: reason(view, service.id, now),
        })
    });
    short.collect()
}

/// Why tasks do not run: first what nothing mends by itself, then what the newest one with an error
/// says, then what one waits for.
fn reason(view: &View, service: ServiceId, now: Timestamp) -> String {
    let tasks = || view.tasks_of(service).map(AsRef::as_ref);
    let (mut given_up, mut waits, mut done, mut open) = (None, None, 0, 0);
    for task in tasks() {
        match swarm_control::outlook(view, task, now) {
            Outlook::GivenUp { reason } => given_up = Some((task, reason)),
            Outlook::Waits { reason, .. } => waits = Some(reason),
            Outlook::Done => done += 1,
            Outlook::Open => open += 1,
        }
    }
    if let Some((task, reason)) = given_up {
        return [tasks::end(task), reason]
            .into_iter()
            .filter(|it| !it.is_empty())
            .collect::<Vec<_>>()
            .join("; ");
    }
    if done > 0 && open == 0 && waits.is_none() {
        return format!("{done} ended as they should and are not started again");
    }
    let newest = tasks()
        .filter(|task: &&Task| !task.status.error.is_empty())
        .max_by_key(|task| (task.is_active(), task.status.since, task.id));
    let error = newest.map(|task| task.status.error.clone());
    error.or(waits).unwrap_or_else(|| "starting".to_owned())
}
