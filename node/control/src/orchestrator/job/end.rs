//! The end of a run that cannot succeed, or has nobody left to wait for.
//!
//! The success of its last slot ends a run by itself, where that is recorded.

use std::time::Duration;

use swarm_model::job::{RUN_REASON_MAX, Run, RunPhase};
use swarm_model::task::{Slot, Task};

use super::super::slot::{Next, SlotPlan};
use super::super::{Round, update};
use super::policy;
use crate::facts::{Facts, recency};
use crate::outlook::why_not;

/// Whether the slot's node is no member any more.
pub(super) fn is_gone(facts: Facts<'_>, slot: Slot) -> bool {
    match slot {
        Slot::JobNode { node, .. } => !facts.view.nodes.contains_key(&node),
        Slot::Job { .. } | Slot::Replica(_) | Slot::Node(_) => false,
    }
}

/// How the run ends now, if it does; else asks to be woken at its deadline.
pub(super) fn end_of(
    round: &mut Round<'_, '_>,
    run: &Run,
    plans: &[(&[&Task], SlotPlan<'_>)],
) -> Option<RunPhase> {
    let failed = plans.iter().find(|(_, plan)| {
        let Next::Finished { failed, .. } = plan.next else { return false };
        failed
    });
    if let Some((tasks, plan)) = failed {
        let last = tasks.iter().max_by_key(|task| recency(task));
        let said = last.map(|task| format!(": {}", update::end(task))).unwrap_or_default();
        let why = why_not(&policy(round.service));
        let mut reason = format!("task {}{said}; {why}", plan.slot);
        reason.truncate(reason.floor_char_boundary(RUN_REASON_MAX));
        return Some(RunPhase::Failed { reason });
    }
    if run.open_slots().all(|(_, slot)| is_gone(round.facts, slot)) {
        // The last success ends a run by itself: this one waits for nodes that were removed.
        let none = run.succeeded.count() == 0;
        let reason = "all its nodes were removed from the cluster".to_owned();
        return Some(if none { RunPhase::Failed { reason } } else { RunPhase::Complete });
    }
    let deadline = round.service.spec.job.deadline_ms.filter(|_| !round.facts.still)?;
    let deadline = Duration::from_millis(deadline);
    let (due, now) = (run.started_at.after(deadline), round.facts.now);
    if due <= now {
        let left = run.completions - run.succeeded.count();
        let reason = format!("its deadline is over and {left} of {} are left", run.completions);
        return Some(RunPhase::Failed { reason });
    }
    // A beginning in the future was noted by another clock.
    round.wake(due.min(now.after(deadline)));
    None
}
