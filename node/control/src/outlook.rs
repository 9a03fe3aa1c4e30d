//! What is still to come for a task: a start at a later time, or never another one, and why.
//!
//! Reads by the rules that the orchestrator acts on; decides nothing, and says nothing of places.

use swarm_model::restart::{RestartCondition, RestartPolicy};
use swarm_model::task::Task;
use swarm_model::task_state::{DesiredState, ObservedState};
use swarm_model::units::Timestamp;
use swarm_model::view::View;

use crate::facts::{ended_by_itself, is_current};
use crate::orchestrator::{job, update};
use crate::restart::{self, Verdict};

/// What is still to come for a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outlook {
    /// Nothing out of the ordinary.
    Open,
    /// It stands for one that ended, and starts only later.
    Waits {
        /// Not earlier than this.
        until: Timestamp,
        /// How the last task ended.
        reason: String,
    },
    /// It ended as it should, and nothing follows.
    Done,
    /// It ended though it should run, and nothing follows.
    GivenUp {
        /// Which part of the restart policy says so.
        reason: String,
    },
}

/// What is still to come for `task`.
pub fn outlook(view: &View, task: &Task, now: Timestamp) -> Outlook {
    if task.desired > DesiredState::Running {
        return Outlook::Open;
    }
    if !task.status.state.is_terminal() {
        return match restart::delayed_until(task, now) {
            Some(until) => Outlook::Waits { until, reason: end_before(view, task) },
            None => Outlook::Open,
        };
    }
    let service = view.services.get(&task.service).filter(|service| !service.removing);
    let Some(service) = service else { return Outlook::Open };
    // While an update is paused, slots that had no turn live on as before. Else their turn comes.
    let former = view.former(service).filter(|_| update::is_paused(service));
    let mut made_from = [Some(&**service), former.as_ref()].into_iter().flatten();
    let Some(service) = made_from.find(|service| is_current(task, service)) else {
        return Outlook::Open;
    };
    if !ended_by_itself(task) || task.status.state == ObservedState::Orphaned {
        return Outlook::Open;
    }
    let policy = &job::policy(service);
    match restart::after_end(task, policy, now) {
        Verdict::Restart { .. } => Outlook::Open,
        Verdict::Finished { failed } if failed || policy.condition == RestartCondition::Any => {
            Outlook::GivenUp { reason: why_not(policy) }
        }
        Verdict::Finished { .. } => Outlook::Done,
    }
}

/// Why nothing follows a task that ended.
pub(crate) fn why_not(policy: &RestartPolicy) -> String {
    match (policy.condition, policy.max_attempts) {
        (RestartCondition::None, _) | (_, None) => {
            format!("not restarted: restart condition {}", policy.condition)
        }
        (RestartCondition::OnFailure | RestartCondition::Any, Some(most)) => {
            format!("not restarted: its restarts are used up (at most {most})")
        }
    }
}

/// How the task that stood in the slot before `task` ended.
fn end_before(view: &View, task: &Task) -> String {
    let before = view
        .tasks_of(task.service)
        .filter(|other| other.slot == task.slot && other.id != task.id)
        .filter(|other| other.status.state.is_terminal())
        .max_by_key(|other| (other.meta.version, other.id));
    let end = before.and_then(|before| {
        let exit = before.status.exit?;
        match (exit.code, exit.signal) {
            (Some(code), _) => Some(format!("ended with exit code {code}")),
            (None, Some(signal)) => Some(format!("was ended by signal {signal}")),
            (None, None) => None,
        }
    });
    let error = before.map(|before| before.status.error.as_str()).filter(|error| !error.is_empty());
    match (end, error) {
        (Some(end), _) => format!("the last task {end}"),
        (None, Some(error)) => format!("the last task failed: {error}"),
        (None, None) => "the last task ended".to_owned(),
    }
}

#[cfg(test)]
#[path = "outlook_tests.rs"]
mod tests;
