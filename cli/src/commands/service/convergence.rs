//! Whether a service is as it should be. Pure: tasks and the time in, a verdict out.

use std::collections::BTreeMap;
use std::time::Duration;

use swarm_model::id::TaskId;
use swarm_model::restart::RestartCondition;
use swarm_model::service::ServiceMode;
use swarm_model::task::ExitStatus;
use swarm_model::task_state::{DesiredState, ObservedState};
use swarm_model::units::Timestamp;
use swarm_node::api::types::{Outlook, ServiceEntry, TaskEntry};
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
        /// When the next task starts that waits for a time.
        next: Option<Timestamp>,
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
        let is_wanted = |entry: &&TaskEntry| {
            let ended = matches!(entry.outlook, Outlook::Done | Outlook::GivenUp);
            ended || entry.task.desired <= DesiredState::Running
        };
        let wanted: Vec<_> = tasks.iter().filter(is_wanted).collect();
        let runs = |entry: &&&TaskEntry| {
            entry.current && entry.task.status.state == ObservedState::Running
        };
        let is_done = |entry: &&&TaskEntry| entry.current && entry.outlook == Outlook::Done;
        let running: Vec<_> = wanted.iter().filter(runs).map(|entry| entry.task.id).collect();
        let done = wanted.iter().filter(is_done).count();
        let old = wanted.iter().filter(|entry| !entry.current && entry.task.is_active()).count();
        self.running_since.retain(|id, _| running.contains(id));
        for id in &running {
            self.running_since.entry(*id).or_insert(now);
        }
        let desired = match service.service.spec.mode {
            ServiceMode::Replicated { replicas } => usize::try_from(replicas).unwrap_or(usize::MAX),
            ServiceMode::Global {}
            | ServiceMode::ReplicatedJob { .. }
            | ServiceMode::GlobalJob {} => {
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
        if let Some(reason) = stuck(&wanted) {
            return Verdict::Stuck(reason);
        }
        let next = wanted.iter().filter_map(|entry| entry.next_attempt_at).min();
        Verdict::Waiting { running: there, desired, reasons: reasons(tasks, condition), next }
    }
}

/// What became of a task that nothing will restart.
fn stuck(wanted: &[&TaskEntry]) -> Option<String> {
    let given_up = |entry: &&&TaskEntry| entry.current && entry.outlook == Outlook::GivenUp;
    let entry = wanted.iter().find(given_up)?;
    Some(format!("{}; {}", end(entry), entry.note))
}

/// Why tasks do not run, for each name whose newest task does not: what the newest one says that has
/// something to say.
pub(super) fn reasons(tasks: &[TaskEntry], condition: RestartCondition) -> Vec<String> {
    let mut by_name = BTreeMap::<&str, Vec<&TaskEntry>>::new();
    for entry in tasks.iter().filter(|entry| entry.current) {
        by_name.entry(&entry.name).or_default().push(entry);
    }
    let reason = |mut entries: Vec<&TaskEntry>| {
        entries.sort_by_key(|entry| {
            let open = entry.task.desired <= DesiredState::Running;
            (std::cmp::Reverse(open), std::cmp::Reverse(entry.task.meta.created_at))
        });
        let runs = entries.first()?.task.status.state == ObservedState::Running;
        let said = || entries.iter().find_map(|entry| why(entry, condition));
        if runs { None } else { said() }
    };
    by_name.into_values().filter_map(reason).collect()
}

/// What is wrong with a task; `None` when nothing is.
fn why(entry: &TaskEntry, condition: RestartCondition) -> Option<String> {
    let status = &entry.task.status;
    match status.state {
        ObservedState::Starting => {
            let health = status.health.as_ref().filter(|health| !health.message.is_empty())?;
            Some(format!("{}: not healthy yet{}: {}", entry.name, on(entry), health.message))
        }
        ObservedState::New | ObservedState::Pending if status.error.is_empty() => None,
        ObservedState::New
        | ObservedState::Pending
        | ObservedState::Failed
        | ObservedState::Rejected
        | ObservedState::Orphaned => Some(end(entry)),
        ObservedState::Complete if condition == RestartCondition::Any => {
            let end = end(entry);
            Some(format!("{end}; it is started again each time (--restart-condition any)"))
        }
        ObservedState::Assigned
        | ObservedState::Accepted
        | ObservedState::Preparing
        | ObservedState::Ready
        | ObservedState::Running
        | ObservedState::Complete
        | ObservedState::Shutdown => None,
    }
}

/// Where a task is.
fn on(entry: &TaskEntry) -> String {
    let place = entry.place();
    if place.is_empty() { place } else { format!(" on {place}") }
}

/// What became of a task, where, and how that shows.
fn end(entry: &TaskEntry) -> String {
    let status = &entry.task.status;
    let state = status.state.to_string().to_lowercase();
    let place = on(entry);
    let text = match status.exit {
        _ if !status.error.is_empty() => format!(": {}", status.error),
        Some(ExitStatus { code: Some(code), .. }) => format!(": exit code {code}"),
        Some(ExitStatus { signal: Some(signal), .. }) => format!(": ended by signal {signal}"),
        Some(_) | None => String::new(),
    };
    format!("{}: {state}{place}{text}", entry.name)
}

#[cfg(test)]
#[path = "convergence_tests.rs"]
mod tests;
