//! `/v1/services/{ref}/logs` and `/v1/tasks/{ref}/logs`: output of tasks, merged from all nodes.
//!
//! One lane a node (see [`super::log_lane`]). Followers keep up with tasks that come later.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::Response;
use futures::StreamExt;
use futures::stream::{self, BoxStream, SelectAll};
use tokio::sync::watch;

use swarm_model::id::{NodeId, ServiceId, TaskId};
use swarm_model::view::View;

use crate::logs::{LogQuery, merge_by_time};

use super::answer;
use super::backend::Backend;
use super::consistency::Read;
use super::errors::ApiError;
use super::log_lane::LogLane;
use super::request::Params;
use super::resolve;
use super::state::Api;
use super::types::{ErrorBody, LogEntry};

/// How long a silent node may hold back the lines of the others.
const WINDOW: Duration = Duration::from_millis(300);

fn query(params: &Params) -> Result<LogQuery, ApiError> {
    params.allow(&["follow", "since", "stale", "tail", "until"])?;
    Ok(LogQuery {
        since: params.time("since")?,
        until: params.time("until")?,
        tail: params.tail()?,
        follow: params.switch("follow")?.unwrap_or(false),
    })
}

/// Streams what the tasks of a service wrote, past tasks included.
#[utoipa::path(get, path = "/v1/services/{ref}/logs", tag = "logs",
    params(("ref" = String, Path, description = "id, name, or unique prefix of the id"),
        ("follow" = Option<bool>, Query, description = "go on, also with tasks that come later"),
        ("since" = Option<String>, Query, description = "a time"),
        ("until" = Option<String>, Query, description = "a time"),
        ("tail" = Option<String>, Query, description = "so many last lines of each task, or all"),
        ("stale" = Option<bool>, Query)),
    responses((status = 200, description = "one a line; nodes that cannot be read are named",
            body = LogEntry, content_type = "application/x-ndjson"),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn of_service(
    State(api): State<Api>,
    Path(reference): Path<String>,
    params: Params,
    read: Read,
) -> Result<Response, ApiError> {
    let query = query(&params)?;
    let service = read.found(resolve::service(&read.view, &reference))?.id;
    let placed = read.view.tasks_of(service).filter_map(|task| Some((task.id, task.node?)));
    let placed: Vec<_> = placed.collect();
    let known: BTreeSet<TaskId> = placed.iter().map(|(task, _)| *task).collect();
    let merged = merged(&api.backend, placed, query);
    let lines = if query.follow {
        let newer = Newer {
            backend: api.backend.clone(),
            views: api.backend.views(),
            service,
            known,
            query: LogQuery { tail: None, ..query },
        };
        newer.follow(merged)
    } else {
        merged
    };
    Ok(read.mark(answer::lines(lines.map(Ok), &api.ending)))
}

/// Streams what one task wrote.
#[utoipa::path(get, path = "/v1/tasks/{ref}/logs", tag = "logs",
    params(("ref" = String, Path,
            description = "id, unique prefix of the id, or name like web.1"),
        ("follow" = Option<bool>, Query, description = "go on until the task has ended"),
        ("since" = Option<String>, Query, description = "a time"),
        ("until" = Option<String>, Query, description = "a time"),
        ("tail" = Option<String>, Query, description = "so many last lines, or all"),
        ("stale" = Option<bool>, Query)),
    responses((status = 200, description = "one a line", body = LogEntry,
            content_type = "application/x-ndjson"),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn of_task(
    State(api): State<Api>,
    Path(reference): Path<String>,
    params: Params,
    read: Read,
) -> Result<Response, ApiError> {
    let query = query(&params)?;
    let task = read.found(resolve::task(&read.view, &reference))?;
    let placed = task.node.map(|node| (task.id, node)).into_iter().collect();
    let lines = merged(&api.backend, placed, query);
    Ok(read.mark(answer::lines(lines.map(Ok), &api.ending)))
}

/// The lines of tasks and where they ran, in order of time.
fn merged(
    backend: &Arc<dyn Backend>,
    placed: Vec<(TaskId, NodeId)>,
    query: LogQuery,
) -> BoxStream<'static, LogEntry> {
    let mut by_node: BTreeMap<NodeId, Vec<TaskId>> = BTreeMap::new();
    for (task, node) in placed {
        by_node.entry(node).or_default().push(task);
    }
    let lane = |(node, tasks)| LogLane::new(backend.clone(), node, tasks, query).entries();
    merge_by_time(by_node.into_iter().map(lane).collect(), WINDOW, |entry: &LogEntry| entry.at)
}

/// Watches for tasks of a service that got a node after the stream began.
struct Newer {
    backend: Arc<dyn Backend>,
    views: watch::Receiver<Arc<View>>,
    service: ServiceId,
    known: BTreeSet<TaskId>,
    query: LogQuery,
}

impl Newer {
    /// `first` and everything that comes later; ends with the service.
    fn follow(self, first: BoxStream<'static, LogEntry>) -> BoxStream<'static, LogEntry> {
        let mut lanes = SelectAll::new();
        lanes.push(first);
        let state = (self, lanes, true);
        stream::unfold(state, |(mut newer, mut lanes, mut lives)| async move {
            loop {
                tokio::select! {
                    biased;
                    entry = lanes.next(), if !lanes.is_empty() => {
                        if let Some(entry) = entry {
                            return Some((entry, (newer, lanes, lives)));
                        }
                    }
                    more = newer.next(), if lives => match more {
                        Some(more) => lanes.push(more),
                        None => lives = false,
                    },
                    else => return None,
                }
            }
        })
        .boxed()
    }

    /// Lines of the next new tasks; `None` when the service or the node has ended.
    ///
    /// # Cancel safety
    /// Tasks are noted only together with giving their lines.
    async fn next(&mut self) -> Option<BoxStream<'static, LogEntry>> {
        loop {
            let view = self.views.borrow_and_update().clone();
            let placed = view.tasks_of(self.service).filter_map(|it| Some((it.id, it.node?)));
            let fresh: Vec<_> = placed.filter(|(task, _)| !self.known.contains(task)).collect();
            if !fresh.is_empty() {
                self.known.extend(fresh.iter().map(|(task, _)| *task));
                return Some(merged(&self.backend, fresh, self.query));
            }
            if !view.services.contains_key(&self.service) {
                return None;
            }
            drop(view);
            self.views.changed().await.ok()?;
        }
    }
}
