//! P: a task with a health probe counts as running only once it has answered that it is well.

use swarm_model::id::TaskId;
use swarm_model::task_state::ObservedState;
use swarm_model::view::View;

use super::Verdict;

/// Some node shows `view`; `was_well` says which programs ever answered so.
///
/// # Errors
/// When a task is on record as running that never was well.
pub fn runs_only_when_well(view: &View, was_well: impl Fn(TaskId) -> bool) -> Verdict {
    let probed = view.tasks.values().filter(|task| task.template.health.is_some());
    let mut runs = probed.filter(|task| task.status.state == ObservedState::Running);
    match runs.find(|task| !was_well(task.id)) {
        Some(task) => Err(format!("P: task {} runs and never was well", task.id.short())),
        None => Ok(()),
    }
}
