//! `/v1/top`, `/v1/services/{ref}/top`, `/v1/tasks/{ref}/top`: what the processes of running tasks use.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::response::Response;
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use swarm_model::id::{NodeId, TaskId};
use swarm_model::task::{Slot, Task};
use swarm_model::task_state::ObservedState;
use swarm_model::view::View;

use super::consistency::Read;
use super::errors::ApiError;
use super::hostnames::Shared;
use super::request::Params;
use super::state::Api;
use super::types::{ErrorBody, place};
use super::{resolve, session, tasks};
use crate::reach::busy::{Busy, TaskTop};
use crate::reach::top::TASKS_MAX;

/// The processes of one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct TopEntry {
    /// The task.
    #[serde(rename = "ID")]
    #[schema(value_type = String)]
    pub task: TaskId,
    /// Its name, `web.1`.
    pub name: String,
    /// Its node, in words.
    pub node: String,
    /// The same, as an id.
    #[serde(rename = "NodeID")]
    #[schema(value_type = String)]
    pub node_id: NodeId,
    /// Why its processes are not known, or not all there.
    #[serde(default)]
    pub error: Option<String>,
    /// Its processes, by id.
    pub processes: Vec<TopProcess>,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct TopProcess {
    /// Its id on its node.
    #[serde(rename = "PID")]
    pub pid: u32,
    /// Its parent's.
    #[serde(rename = "ParentPID")]
    pub parent: u32,
    /// Whom it runs as.
    pub user: String,
    /// Thousandths of one processor that it used over the last half second.
    #[serde(rename = "CPUMilli")]
    pub cpu_milli: u64,
    /// Processor time since its start, in milliseconds.
    #[serde(rename = "CPUTimeMs")]
    pub cpu_time_ms: u64,
    /// Resident memory, in bytes.
    pub memory: u64,
    /// For how long it has run, in milliseconds.
    pub age_ms: u64,
    /// Its command line.
    pub command: String,
}

impl From<Busy> for TopProcess {
    fn from(Busy { process, cpu_milli }: Busy) -> Self {
        Self {
            pid: process.pid,
            parent: process.parent,
            user: process.user,
            cpu_milli,
            cpu_time_ms: process.cpu_us / 1000,
            memory: process.memory,
            age_ms: process.age_ms,
            command: process.command,
        }
    }
}

/// Shows the processes of all running tasks.
#[utoipa::path(get, path = "/v1/top", tag = "tasks", params(("stale" = Option<bool>, Query)),
    responses((status = 200, description = "by service and slot; what cannot be read says why",
            body = [TopEntry]),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn of_all(
    State(api): State<Api>,
    params: Params,
    read: Read,
) -> Result<Response, ApiError> {
    params.allow(&["stale"])?;
    let running = running(read.view.tasks.values().map(AsRef::as_ref));
    Ok(read.answer(&entries(&api, &read.view, running).await?))
}

/// Shows the processes of the running tasks of a service.
#[utoipa::path(get, path = "/v1/services/{ref}/top", tag = "tasks",
    params(("ref" = String, Path, description = "id, name, or unique prefix of the id"),
        ("stale" = Option<bool>, Query)),
    responses((status = 200, description = "by slot; what cannot be read says why",
            body = [TopEntry]),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn of_service(
    State(api): State<Api>,
    Path(reference): Path<String>,
    params: Params,
    read: Read,
) -> Result<Response, ApiError> {
    params.allow(&["stale"])?;
    let service = read.found(resolve::service(&read.view, &reference))?;
    let running = running(read.view.tasks_of(service.id).map(AsRef::as_ref));
    Ok(read.answer(&entries(&api, &read.view, running).await?))
}

/// Shows the processes of one running task.
#[utoipa::path(get, path = "/v1/tasks/{ref}/top", tag = "tasks",
    params(("ref" = String, Path,
            description = "id, unique prefix of the id, or name like web.1"),
        ("stale" = Option<bool>, Query)),
    responses((status = 200, description = "the one task", body = [TopEntry]),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn of_task(
    State(api): State<Api>,
    Path(reference): Path<String>,
    params: Params,
    read: Read,
) -> Result<Response, ApiError> {
    params.allow(&["stale"])?;
    let task = read.found(resolve::task(&read.view, &reference))?;
    let task = session::running(&api, &read.view, task)?;
    Ok(read.answer(&entries(&api, &read.view, vec![task]).await?))
}

fn running<'a>(tasks: impl Iterator<Item = &'a Task>) -> Vec<&'a Task> {
    tasks.filter(|task| task.status.state == ObservedState::Running).collect()
}

/// Asks all nodes at once.
async fn entries(api: &Api, view: &View, tasks: Vec<&Task>) -> Result<Vec<TopEntry>, ApiError> {
    if tasks.len() > TASKS_MAX {
        let many = format!("{} tasks are more than the {TASKS_MAX} shown at once", tasks.len());
        return Err(ApiError::invalid(format!("{many}: ask for one service")));
    }
    let mut by_node: BTreeMap<NodeId, Vec<&Task>> = BTreeMap::new();
    for task in tasks {
        if let Some(node) = task.node {
            by_node.entry(node).or_default().push(task);
        }
    }
    let shared = Shared::of(view);
    let asked = by_node.into_iter().map(|(node, tasks)| of_node(api, view, &shared, node, tasks));
    let mut all = join_all(asked).await.concat();
    all.sort_by_cached_key(|entry| place_of(view, entry));
    Ok(all)
}

/// By service, then by slot: by number, not by text.
fn place_of(view: &View, entry: &TopEntry) -> (String, Option<Slot>, TaskId) {
    let service = entry.name.rsplit_once('.').map_or(&*entry.name, |(service, _)| service);
    (service.to_owned(), view.tasks.get(&entry.task).map(|task| task.slot), entry.task)
}

/// Asks one node.
async fn of_node(
    api: &Api,
    view: &View,
    shared: &Shared<'_>,
    node: NodeId,
    tasks: Vec<&Task>,
) -> Vec<TopEntry> {
    let hostname = view.nodes.get(&node).map(|node| node.description.hostname.as_str());
    let hostname = hostname.unwrap_or_default();
    let at = place(hostname, shared.contains(hostname).then_some(node));
    let ids = tasks.iter().map(|task| task.id).collect();
    let (told, lost) = match api.backend.top(node, ids).await {
        Ok(told) => (told, "its node does not know it".to_owned()),
        Err(error) => (Vec::new(), error.to_string()),
    };
    let mut told: BTreeMap<_, _> = told.into_iter().map(|top| (top.task, top)).collect();
    let entry = |task: &Task| {
        let (processes, error) = match told.remove(&task.id) {
            Some(TaskTop { processes, error, .. }) => (processes, error),
            None => (Vec::new(), Some(lost.clone())),
        };
        TopEntry {
            task: task.id,
            name: tasks::name(view, task),
            node: at.clone(),
            node_id: node,
            error,
            processes: processes.into_iter().map(TopProcess::from).collect(),
        }
    };
    tasks.into_iter().map(entry).collect()
}
