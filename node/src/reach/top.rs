//! What the processes of tasks use: both ends of [`Method::TaskTop`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use swarm_model::id::{NodeId, TaskId};
use swarm_net::frame;
use swarm_net::rpc::{Method, Refusal, RefusalCode};
use tokio::time::{Instant, sleep};

use super::reason;
use crate::api::backend::ReachError;
use crate::core::Core;
use crate::runtime::{Failure, ProcessSample};

/// How long the other node may take: it looks twice.
const DEADLINE: Duration = Duration::from_secs(5);
/// Between the two looks that processor use is told from.
const WINDOW: Duration = Duration::from_millis(500);
/// Tasks that one call asks about.
pub(crate) const TASKS_MAX: usize = 10_000;

/// A process, and how busy it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Busy {
    /// The process.
    pub process: ProcessSample,
    /// Thousandths of one processor that it used in the last moment.
    pub cpu_milli: u64,
}

/// The processes of one task, or why they are not known.
pub type TaskTop = (TaskId, Result<Vec<Busy>, String>);

/// Asks `node`, this one or another.
pub(crate) async fn ask(
    core: &Arc<Core>,
    node: NodeId,
    tasks: Vec<TaskId>,
) -> Result<Vec<TaskTop>, ReachError> {
    if node == core.id {
        return Ok(measure(core, tasks).await);
    }
    let body = frame::encode(&tasks);
    let answer = core.transport.call(node, Method::TaskTop, body, DEADLINE).await;
    let answer = answer.map_err(reason)?;
    frame::decode(&answer).map_err(|error| ReachError::Unreachable { reason: error.to_string() })
}

/// Answers another node.
pub(crate) async fn serve(core: Arc<Core>, body: Bytes) -> Result<Bytes, Refusal> {
    let malformed = |why: String| Refusal::new(RefusalCode::Malformed, why);
    let tasks: Vec<TaskId> = frame::decode(&body).map_err(|error| malformed(error.to_string()))?;
    if tasks.len() > TASKS_MAX {
        return Err(malformed(format!("{} tasks are over the limit of {TASKS_MAX}", tasks.len())));
    }
    Ok(frame::encode(&measure(&core, tasks).await))
}

/// Looks at the tasks twice.
async fn measure(core: &Core, tasks: Vec<TaskId>) -> Vec<TaskTop> {
    let begun = Instant::now();
    let mut before: BTreeMap<(u32, TaskId), u64> = BTreeMap::new();
    for task in &tasks {
        for process in sample(core, *task).await.unwrap_or_default() {
            before.insert((process.pid, *task), process.cpu_us);
        }
    }
    sleep(WINDOW).await;
    let window = begun.elapsed();
    let mut all = Vec::with_capacity(tasks.len());
    for task in tasks {
        let busy = |process: ProcessSample| {
            let before = before.get(&(process.pid, task)).copied().unwrap_or_default();
            Busy { cpu_milli: milli(process.cpu_us.saturating_sub(before), window), process }
        };
        let found = sample(core, task).await;
        let found = found.map(|found| found.into_iter().map(busy).collect());
        all.push((task, found.map_err(|failure| failure.to_line())));
    }
    all
}

/// Thousandths of a processor.
fn milli(used_us: u64, window: Duration) -> u64 {
    let window = u64::try_from(window.as_micros()).unwrap_or(u64::MAX).max(1);
    used_us.saturating_mul(1000) / window
}

/// Asks each runtime: only the task's own knows it.
async fn sample(core: &Core, task: TaskId) -> Result<Vec<ProcessSample>, Failure> {
    let mut last = Failure::UnknownTask { task };
    for runtime in core.runtimes.iter() {
        match runtime.processes(task).await {
            Err(failure @ Failure::UnknownTask { .. }) => last = failure,
            other => return other,
        }
    }
    Err(last)
}

/// What travels, for the fuzz driver.
pub(crate) mod fuzz {
    use swarm_model::fuzz::Target;
    use swarm_net::fuzz::message;

    use super::*;

    /// The question.
    pub(crate) const ASK: Target = Target::new("node.top-ask", message::<Vec<TaskId>>, || {
        vec![frame::encode(&vec![TaskId::from_raw(3)]).to_vec()]
    });
    /// The answer.
    pub(crate) const ANSWER: Target = Target::new("node.top", message::<Vec<TaskTop>>, || {
        let process = ProcessSample {
            pid: 7,
            parent: 1,
            user: "web".to_owned(),
            cpu_us: 5,
            memory: 4096,
            age_ms: 9,
            command: "sleep 1".to_owned(),
        };
        let busy = Busy { process, cpu_milli: 1000 };
        let task = TaskId::from_raw(3);
        let all: Vec<TaskTop> = vec![(task, Ok(vec![busy])), (task, Err("gone".to_owned()))];
        vec![frame::encode(&all).to_vec()]
    });
}
