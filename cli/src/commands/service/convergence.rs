//! Whether a service is as it should be. Pure: tasks and the time in, a verdict out.

use std::collections::BTreeMap;
use std::time::Duration;

use swarm_model::id::TaskId;
use swarm_model::restart::RestartCondition;
use swarm_model::service::ServiceMode;
use swarm_model::task_state::{DesiredState, ObservedState};
use swarm_node::api::types::{ServiceEntry, TaskEntry};
use tokio::time::Instant;

/// How long a global service may have no task at all until that is taken as its wish.
const EMPTY_GRACE: Duration = Duration::from_millis(500);

/// How a service stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All that should run has run for long enough.
    Converged {
        /// Tasks that run or are done.
        tasks: usize,
    },
    /// Not yet.
    Waiting {
        /// Tasks that run or are done.
        running: usize,
        /// Tasks wanted.
        desired: usize,
        /// Why tasks do not run: one line a task that says something.
        reasons: Vec<String>,
    },
    /// It never will by itself.
    Stuck(String),
}

/// Remembers since when tasks run.
#[derive(Debug)]
pub(super) struct Convergence {
    monitor: Duration,
    began: Option<Instant>,
    running_since: BTreeMap<TaskId, Instant>,
}

impl Convergence {
    /// Converged is what has run for `monitor`.
    pub(super) fn new(monitor: Duration) -> Self {
        Self { monitor, began: None, running_since: BTreeMap::new() }
    }

    /// Looks at the service and all its tasks.
    pub(super) fn judge(
        &mut self,
        service: &ServiceEntry,
        tasks: &[TaskEntry],
        now: Instant,
    ) -> Verdict {
        let began = *self.began.get_or_insert(now);
        let condition = service.service.spec.task_template.restart_policy.condition;
        let is_wanted = |entry: &&TaskEntry| entry.task.desired <= DesiredState::Running;
        let wanted: Vec<_> = tasks.iter().filter(is_wanted).collect();
        let runs = |entry: &&&TaskEntry| {
            entry.current && entry.task.status.state == ObservedState::Running
        };
        let is_done = |entry: &&&TaskEntry| {
            let done = entry.task.status.state == ObservedState::Complete;
            entry.current && done && condition != RestartCondition::Any
        };
        let running: Vec<_> = wanted.iter().filter(runs).map(|entry| entry.task.id).collect();
        let done = wanted.iter().filter(is_done).count();
        let old = wanted.iter().filter(|entry| !entry.current && entry.task.is_active()).count();
        self.running_since.retain(|id, _| running.contains(id));
        for id in &running {
            self.running_since.entry(*id).or_insert(now);
        }
        let desired = match service.service.spec.mode {
            ServiceMode::Replicated { replicas } => usize::try_from(replicas).unwrap_or(usize::MAX),
            ServiceMode::Global {} => {
                usize::try_from(service.service_status.desired_tasks).unwrap_or(usize::MAX)
            }
        };
        let there = running.len() + done;
        let settled = self.running_since.values().all(|since| now - *since >= self.monitor);
        let is_global = service.service.spec.mode == (ServiceMode::Global {});
        let known = !is_global || desired > 0 || now - began >= self.monitor.max(EMPTY_GRACE);
        if there == desired && old == 0 && settled && known {
            return Verdict::Converged { tasks: there };
        }
        if let Some(reason) = stuck(condition, &wanted) {
            return Verdict::Stuck(reason);
        }
        Verdict::Waiting { running: there, desired, reasons: reasons(tasks) }
    }
}

/// A task that failed and that nothing will restart.
fn stuck(condition: RestartCondition, wanted: &[&TaskEntry]) -> Option<String> {
    if condition != RestartCondition::None {
        return None;
    }
    let failed = |state| matches!(state, ObservedState::Failed | ObservedState::Rejected);
    let entry = wanted.iter().find(|entry| entry.current && failed(entry.task.status.state))?;
    Some(format!("{}; it is not restarted (--restart-condition none)", why(entry)?))
}

/// Why tasks do not run, for the newest of each name that has something to say.
fn reasons(tasks: &[TaskEntry]) -> Vec<String> {
    let mut newest = BTreeMap::<&str, (&TaskEntry, String)>::new();
    for entry in tasks.iter().filter(|entry| entry.current) {
        let Some(text) = why(entry) else { continue };
        let later = |(other, _): &(&TaskEntry, String)| {
            entry.task.meta.created_at >= other.task.meta.created_at
        };
        if newest.get(entry.name.as_str()).is_none_or(later) {
            newest.insert(&entry.name, (entry, text));
        }
    }
    newest.into_values().map(|(_, text)| text).collect()
}

/// What is wrong with a task; `None` when nothing is.
fn why(entry: &TaskEntry) -> Option<String> {
    let status = &entry.task.status;
    let exit = || {
        let exit = status.exit?;
        exit.code.map(|code| format!("exit code {code}")).or_else(|| {
            let signal = exit.signal?;
            Some(format!("ended by signal {signal}"))
        })
    };
    let text = match status.state {
        ObservedState::New
        | ObservedState::Pending
        | ObservedState::Failed
        | ObservedState::Rejected
        | ObservedState::Orphaned => {
            if status.error.is_empty() {
                exit()?
            } else {
                status.error.clone()
            }
        }
        ObservedState::Assigned
        | ObservedState::Accepted
        | ObservedState::Preparing
        | ObservedState::Ready
        | ObservedState::Starting
        | ObservedState::Running
        | ObservedState::Complete
        | ObservedState::Shutdown => return None,
    };
    let state = status.state.to_string().to_lowercase();
    let place = if entry.node_hostname.is_empty() {
        String::new()
    } else {
        format!(" on {}", entry.node_hostname)
    };
    Some(format!("{}: {state}{place}: {text}", entry.name))
}

#[cfg(test)]
#[path = "convergence_tests.rs"]
mod tests;
