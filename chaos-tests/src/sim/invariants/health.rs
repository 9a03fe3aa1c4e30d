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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use swarm_model::fuzz::sample;
    use swarm_model::id::ServiceId;
    use swarm_model::meta::{Meta, Version};
    use swarm_model::task::{Slot, Task, TaskStatus};
    use swarm_model::task_state::DesiredState;
    use swarm_model::units::Timestamp;

    /// One task, with a health probe or without.
    fn view(state: ObservedState, probed: bool) -> View {
        let mut template = sample::template();
        template.health = template.health.filter(|_probe| probed);
        assert_eq!(template.health.is_some(), probed, "the sample has a probe");
        let mut view = View::default();
        view.put_task(Task {
            id: TaskId::from_raw(1),
            meta: Meta::default(),
            service: ServiceId::from_raw(1),
            slot: Slot::Replica(1),
            node: None,
            template_version: Version(1),
            template: Arc::new(template),
            desired: DesiredState::Running,
            status: TaskStatus::new(state, Timestamp::default(), ""),
            not_before: None,
            restart: Default::default(),
            eviction: None,
            update: None,
            ran_at: None,
        });
        view
    }

    #[test]
    fn a_task_that_runs_and_never_was_well_is_found() {
        let runs = view(ObservedState::Running, true);
        assert!(runs_only_when_well(&runs, |_task| false).is_err());
        assert_eq!(runs_only_when_well(&runs, |task| task == TaskId::from_raw(1)), Ok(()));
        let starts = view(ObservedState::Starting, true);
        assert_eq!(runs_only_when_well(&starts, |_task| false), Ok(()));
        let unasked = view(ObservedState::Running, false);
        assert_eq!(runs_only_when_well(&unasked, |_task| false), Ok(()));
    }
}
