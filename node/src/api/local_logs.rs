//! This node's own part of a logs request: lines of several of its tasks as one stream.
//!
//! Serves the local API and the calls of other nodes alike; knows nothing of services.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use swarm_model::id::TaskId;

use crate::logs::{LogQuery, LogStore, merge_by_time};

use super::backend::{LogsError, TaskLine};

/// How long one silent task may hold back the lines of the others: above the ring's poll interval.
const WINDOW: Duration = Duration::from_millis(150);

/// Lines of `tasks` from the rings in `store`, merged by time; `query.tail` counts per task.
pub fn local_logs(
    store: &LogStore,
    tasks: &[TaskId],
    query: LogQuery,
) -> BoxStream<'static, Result<TaskLine, LogsError>> {
    let lanes = tasks.iter().map(|task| {
        let task = *task;
        store
            .query(task, query)
            .map(move |line| match line {
                Ok(line) => Ok(TaskLine { task, line }),
                Err(error) => Err(LogsError { reason: describe(&error) }),
            })
            .boxed()
    });
    // An error says something now: it goes first.
    merge_by_time(lanes.collect(), WINDOW, |line: &Result<TaskLine, LogsError>| {
        line.as_ref()
            .map_or_else(|_error| swarm_model::units::Timestamp::default(), |line| line.line.at)
    })
}

/// An error with its causes, in one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
