//! What the processes of tasks use: both ends of [`Method::TaskTop`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use swarm_model::id::{NodeId, TaskId};
use swarm_net::frame;
use swarm_net::rpc::{Method, Refusal, RefusalCode};
use tokio::time::{Instant, sleep};

use super::busy::{TaskTop, busy, shorten};
use super::reason;
use crate::api::backend::ReachError;
use crate::core::Core;
use crate::runtime::{Failure, Samples};

/// How long the other node may take: it looks twice.
const DEADLINE: Duration = Duration::from_secs(5);
/// Between the two looks that processor use is told from.
const WINDOW: Duration = Duration::from_millis(500);
/// Tasks that one call asks about.
pub(crate) const TASKS_MAX: usize = 10_000;

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
    let before = look(core, &tasks).await;
    sleep(WINDOW).await;
    let window = begun.elapsed();
    let mut after = look(core, &tasks).await;
    let top = |task| {
        let unknown = || Err(Failure::UnknownTask { task });
        let earlier = before.get(&task).and_then(|it| it.as_ref().ok()).map_or(&[][..], |it| it);
        match after.remove(&task).unwrap_or_else(unknown) {
            Ok(found) => {
                let processes = found.into_iter().map(|it| busy(it, earlier, window)).collect();
                TaskTop { task, processes, error: None }
            }
            Err(failure) => TaskTop { task, processes: Vec::new(), error: Some(failure.to_line()) },
        }
    };
    let mut all = tasks.into_iter().map(top).collect::<Vec<_>>();
    shorten(&mut all);
    all
}

/// Asks each runtime for what those before it do not know.
async fn look(core: &Core, tasks: &[TaskId]) -> Samples {
    let mut known = Samples::new();
    for runtime in core.runtimes.iter() {
        let open = tasks.iter().filter(|task| !known.contains_key(task)).copied();
        let samples = runtime.processes(open.collect()).await;
        known.extend(samples);
    }
    known
}

/// What travels, for the fuzz driver.
pub(crate) mod fuzz {
    use swarm_model::fuzz::Target;
    use swarm_net::fuzz::message;

    use super::*;
    use crate::reach::busy::Busy;
    use crate::runtime::ProcessSample;

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
        let known = TaskTop { task, processes: vec![busy], error: None };
        let lost = TaskTop { task, processes: Vec::new(), error: Some("gone".to_owned()) };
        vec![frame::encode(&vec![known, lost]).to_vec()]
    });
}
