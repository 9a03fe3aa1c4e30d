//! Which ended tasks of a job stay.
//!
//! Those of runs that are remembered; what a run achieved is in the run itself.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use swarm_model::task::{Slot, Task};
use swarm_model::task_state::DesiredState;

use super::super::{Round, by_slot, history_limit};
use crate::facts::recency;

/// Ended tasks of a job that stay, for each one that stays of a slot by the cluster's settings.
const KEPT_FACTOR: usize = 40;

/// Forgets the oldest ended tasks of all runs, but for the newest one of each slot in `needed`, which says
/// how often it was tried.
pub(super) fn trim(round: &mut Round<'_, '_>, tasks: &[&Task], needed: &BTreeSet<Slot>) {
    let limit = history_limit(round.facts.view);
    let most = usize::try_from(limit).unwrap_or(usize::MAX).saturating_mul(KEPT_FACTOR);
    if tasks.len() <= most {
        return;
    }
    let mut ended: Vec<&Task> = Vec::new();
    for (slot, tasks) in by_slot(tasks) {
        let gone = tasks.iter().copied().filter(|task| {
            round.draft.has_ended(task)
                && task.desired < DesiredState::Remove
                && !round.draft.has_touched(task)
        });
        let newest = tasks.iter().filter(|_| needed.contains(&slot)).max_by_key(|it| recency(it));
        let newest = newest.map(|task| task.id);
        ended.extend(gone.filter(|task| Some(task.id) != newest));
    }
    if ended.len() > most {
        ended.sort_unstable_by_key(|task| Reverse(recency(task)));
        ended[most..].iter().for_each(|task| round.draft.remove(task));
    }
}
