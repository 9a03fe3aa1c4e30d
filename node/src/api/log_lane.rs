//! The lines of one node's tasks as entries; goes on where it stopped when the node comes back.
//!
//! A node that cannot be read is named once, in an entry of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::time::sleep;

use swarm_model::id::{NodeId, TaskId};
use swarm_model::units::Timestamp;

use crate::logs::{LogQuery, LogStream};

use super::backend::{Backend, LogsError, TaskLine};
use super::hostnames::Shared;
use super::tasks;
use super::types::LogEntry;

/// How often a follower tries a node again that failed.
const RETRY: Duration = Duration::from_secs(1);

/// How far a task's lines went out: the time of the last, and how many had that time.
type Position = (Timestamp, usize);

/// Reads the lines of `tasks` on `node`.
pub(super) struct LogLane {
    backend: Arc<dyn Backend>,
    node: NodeId,
    /// Names are kept: tasks are forgotten sooner than their lines.
    tasks: BTreeMap<TaskId, String>,
    hostname: String,
    hostname_shared: bool,
    query: LogQuery,
    sent: BTreeMap<TaskId, Position>,
    /// Lines still to be left out after a retry, since they went out before.
    skip: BTreeMap<TaskId, Position>,
    lines: Option<BoxStream<'static, Result<TaskLine, LogsError>>>,
    failed: bool,
    over: bool,
}

impl LogLane {
    pub(super) fn new(
        backend: Arc<dyn Backend>,
        node: NodeId,
        tasks: Vec<TaskId>,
        query: LogQuery,
    ) -> Self {
        let view = backend.view();
        let name = |id: TaskId| match view.tasks.get(&id) {
            Some(task) => (id, tasks::name(&view, task)),
            None => (id, id.to_string()),
        };
        let hostname = view.nodes.get(&node).map(|node| node.description.hostname.clone());
        let hostname = hostname.unwrap_or_else(|| node.to_string());
        Self {
            hostname_shared: Shared::of(&view).contains(&hostname),
            hostname,
            tasks: tasks.into_iter().map(name).collect(),
            backend,
            node,
            query,
            sent: BTreeMap::new(),
            skip: BTreeMap::new(),
            lines: None,
            failed: false,
            over: false,
        }
    }

    /// In order of time.
    pub(super) fn entries(self) -> BoxStream<'static, LogEntry> {
        stream::unfold(self, |mut lane| async move {
            let next = lane.next().await?;
            Some((next, lane))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<LogEntry> {
        while !self.over {
            let next = match self.lines.as_mut() {
                Some(lines) => lines.next().await,
                None => {
                    self.open().await;
                    continue;
                }
            };
            match next {
                Some(Ok(line)) if self.went_out_before(&line) => {}
                Some(Ok(line)) => return Some(self.entry(line)),
                Some(Err(error)) => {
                    if let Some(entry) = self.fail(&error) {
                        return Some(entry);
                    }
                }
                None => self.over = true,
            }
        }
        None
    }

    /// Opens the stream, again where it stopped.
    async fn open(&mut self) {
        let mut query = self.query;
        if self.failed {
            sleep(RETRY).await;
            while !self.backend.heard().contains(&self.node) {
                sleep(RETRY).await;
            }
            self.skip = self.sent.clone();
        }
        if !self.sent.is_empty() {
            query.tail = None;
            let all_began = self.sent.len() == self.tasks.len();
            if all_began {
                query.since = self.sent.values().map(|(at, _)| *at).min();
            }
        }
        let tasks = self.tasks.keys().copied().collect();
        self.lines = Some(self.backend.logs(self.node, tasks, query));
    }

    fn went_out_before(&mut self, line: &TaskLine) -> bool {
        let Some((at, left)) = self.skip.get_mut(&line.task) else { return false };
        if line.line.at == *at && *left > 0 {
            *left -= 1;
            return true;
        }
        line.line.at < *at
    }

    fn entry(&mut self, TaskLine { task, line }: TaskLine) -> LogEntry {
        self.failed = false;
        let position = self.sent.entry(task).or_insert((line.at, 0));
        *position = if position.0 == line.at { (line.at, position.1 + 1) } else { (line.at, 1) };
        let stream = match line.stream {
            LogStream::Stdout => "stdout",
            LogStream::Stderr => "stderr",
        };
        LogEntry {
            at: line.at,
            task: Some(task),
            task_name: self.tasks.get(&task).cloned().unwrap_or_else(|| task.to_string()),
            node: self.node,
            node_hostname: self.hostname.clone(),
            node_hostname_shared: self.hostname_shared,
            stream: stream.to_owned(),
            line: String::from_utf8_lossy(&line.text).into_owned(),
            error: None,
            missing_tasks: 0,
        }
    }

    /// Says what cannot be read, unless that was said; ends the lane when nobody waits for more.
    fn fail(&mut self, error: &LogsError) -> Option<LogEntry> {
        self.lines = None;
        self.over = !self.query.follow;
        if std::mem::replace(&mut self.failed, true) {
            return None;
        }
        Some(LogEntry {
            at: self.backend.now(),
            task: None,
            task_name: String::new(),
            node: self.node,
            node_hostname: self.hostname.clone(),
            node_hostname_shared: self.hostname_shared,
            stream: String::new(),
            line: String::new(),
            error: Some(error.reason.clone()),
            missing_tasks: u32::try_from(self.tasks.len()).unwrap_or(u32::MAX),
        })
    }
}
