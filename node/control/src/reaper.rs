//! Forgetting ended tasks: those that nobody wants, and history beyond the limit.
//!
//! Never touches a task that may still hold a process.

use std::cmp::Reverse;

use swarm_model::task::Task;
use swarm_model::task_state::DesiredState;

use crate::draft::Draft;
use crate::facts::{Facts, ended_by_itself, recency};

/// Forgets `task`, which nobody wants, as soon as nothing of it is left.
pub(crate) fn forget(facts: Facts<'_>, task: &Task, draft: &mut Draft) {
    if facts.has_vanished(task) {
        draft.remove(task);
    }
}

/// Trims the history of one slot to `limit` ended tasks. The newest one stays while the slot has
/// no `successor`: it carries the restart record, and says that the slot is finished.
pub(crate) fn trim_history(tasks: &[&Task], successor: bool, limit: u32, draft: &mut Draft) {
    let keep = usize::try_from(limit).unwrap_or(usize::MAX).max(usize::from(!successor));
    if tasks.len() <= keep {
        return;
    }
    let mut ended: Vec<&Task> = tasks
        .iter()
        .copied()
        .filter(|task| draft.has_ended(task) && task.desired < DesiredState::Remove)
        .collect();
    if ended.len() > keep {
        // What this plan changes is the newest by it.
        ended.sort_unstable_by_key(|task| {
            let orphaned =
                !task.status.state.is_terminal() && task.desired <= DesiredState::Running;
            let by_itself = orphaned || ended_by_itself(task);
            Reverse((by_itself, draft.has_touched(task), recency(task)))
        });
        for task in &ended[keep..] {
            draft.remove(task);
        }
    }
}
