//! One slot: which of its tasks serves it, which have to end, and whether it needs a new one.
//!
//! Knows nothing of other slots; how many slots may change at a time is `update`'s.

use swarm_model::restart::RestartRecord;
use swarm_model::service::Service;
use swarm_model::task::{Slot, Task};
use swarm_model::task_state::{DesiredState, ObservedState};

use super::need::{Old, Seed};
use crate::enforcer::{Stance, stance};
use crate::facts::{Facts, Host, ended_by_itself, is_current, recency};
use crate::restart::{self, Verdict};

/// What a slot needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing.
    Nothing,
    /// Nothing, until a task of it that is being stopped has ended.
    Wait,
    /// Nothing ever: its last task ended and the restart policy leaves it at that.
    Finished {
        /// Whether that task ended badly.
        failed: bool,
    },
    /// A new task.
    Create {
        /// What it starts from.
        seed: Seed,
        /// Whether all is well and only the template changed, so that this can be put off.
        voluntary: bool,
    },
}

/// What was decided for one slot.
#[derive(Debug)]
pub(super) struct SlotPlan<'a> {
    /// The slot.
    pub(super) slot: Slot,
    /// The task that is as it should be, running or on its way.
    pub(super) keep: Option<&'a Task>,
    /// A running task that serves until `keep`, or what is created next, runs.
    pub(super) old: Option<Old<'a>>,
    /// Tasks to stop now.
    pub(super) stop: Vec<&'a Task>,
    /// Whether a silent node holds the slot.
    pub(super) held: bool,
    /// Whether a task of it is being stopped and has not ended.
    pub(super) ending: bool,
    /// What it needs.
    pub(super) next: Next,
}

/// Whether `task` is seen running.
pub(super) fn runs(task: &Task) -> bool {
    task.status.state == ObservedState::Running
}

/// Decides for one slot.
pub(super) fn assess<'a>(
    facts: Facts<'a>,
    service: &Service,
    slot: Slot,
    tasks: &[&'a Task],
) -> SlotPlan<'a> {
    let mut plan = SlotPlan {
        slot,
        keep: None,
        old: None,
        stop: Vec::new(),
        held: false,
        ending: tasks.iter().any(|task| is_stopping(facts, task)),
        next: Next::Nothing,
    };
    let mut replaced = Vec::new();
    let mut held = Vec::new();
    for task in tasks.iter().copied().filter(|task| task.is_active()) {
        let stance = stance(facts, service, task);
        match stance {
            Stance::Good => plan.offer(task),
            Stance::Held => held.push(task),
            Stance::Lost => plan.stop.push(task),
            Stance::Outdated | Stance::Drained { .. } | Stance::Forbidden => {
                replaced.push(Old { task, stance });
            }
        }
    }
    // What ran last before its node fell silent has taken over; what had yet to start may still do so.
    let best = held.iter().copied().filter(|task| runs(task));
    let best = best.max_by_key(|task| (is_current(task, service), recency(task)));
    held.retain(|task| {
        let starts = |best: &Task| !runs(task) && !is_current(best, service);
        let beside = best.is_none_or(|best| best.id == task.id || starts(best));
        let stays = plan.keep.is_none() && beside;
        if !stays {
            plan.stop.push(task);
        }
        stays
    });
    plan.held = !held.is_empty();
    for old in replaced {
        plan.offer_old(old, facts);
    }
    if plan.keep.is_none() && !plan.held {
        plan.next = next(facts, service, tasks, plan.old);
    }
    plan
}

impl<'a> SlotPlan<'a> {
    /// Keeps the better one of `task` and the one kept so far: what runs, has a node, is newer.
    fn offer(&mut self, task: &'a Task) {
        let rank = |task: &Task| (runs(task), task.node.is_some(), recency(task));
        match self.keep {
            Some(kept) if rank(kept) >= rank(task) => self.stop.push(task),
            Some(kept) => {
                self.stop.push(kept);
                self.keep = Some(task);
            }
            None => self.keep = Some(task),
        }
    }

    /// Lets `old` serve on if it runs, nothing better does, and its time is not over.
    fn offer_old(&mut self, old: Old<'a>, facts: Facts<'_>) {
        let expired = match old.stance {
            Stance::Drained { deadline } => deadline.is_some_and(|at| at <= facts.now),
            Stance::Outdated | Stance::Forbidden => false,
            Stance::Good | Stance::Lost | Stance::Held => true,
        };
        let served = self.held || self.old.is_some() || self.keep.is_some_and(runs);
        if expired || served || !runs(old.task) {
            self.stop.push(old.task);
        } else {
            self.old = Some(old);
        }
    }

    /// Whether an update has to wait for this slot before it touches the next one. A task that
    /// waits for a node, alone, does not count: no slot would be worse off for going on.
    pub(super) fn in_progress(&self) -> bool {
        if let Some(keep) = self.keep {
            let moves = keep.node.is_some() || keep.desired == DesiredState::Ready;
            return !runs(keep) && (moves || self.ending || self.old.is_some());
        }
        match self.next {
            Next::Nothing => false,
            Next::Wait => true,
            Next::Finished { failed } => failed,
            // One that starts at once is noticed when it is placed.
            Next::Create { seed, voluntary } => {
                !voluntary && (seed.not_before.is_some() || self.old.is_some())
            }
        }
    }
}

/// What a slot without a good task needs.
fn next(facts: Facts<'_>, service: &Service, tasks: &[&Task], old: Option<Old<'_>>) -> Next {
    let mut newest: Option<&Task> = None;
    for task in tasks.iter().copied() {
        let removed = task.desired == DesiredState::Remove;
        if (removed || is_current(task, service)) && is_stopping(facts, task) {
            return Next::Wait;
        }
        let newer = newest.is_none_or(|newest| recency(newest) < recency(task));
        if !removed && is_current(task, service) && newer {
            newest = Some(task);
        }
    }
    let create = |seed| Next::Create { seed, voluntary: false };
    let Some(last) = newest else {
        let voluntary = old.is_some_and(|old| old.stance == Stance::Outdated);
        let record = RestartRecord { displaced: lost_its_place(tasks, old), ..Default::default() };
        return Next::Create { seed: Seed { record, ..Seed::default() }, voluntary };
    };
    if !ended_by_itself(last) || last.status.state == ObservedState::Orphaned {
        return create(heir(last));
    }
    match restart::after_end(last, &service.template.restart_policy, facts.now) {
        Verdict::Finished { failed } => Next::Finished { failed },
        Verdict::Restart { record, not_before } => {
            let rejected = last.status.state == ObservedState::Rejected;
            create(Seed { record, not_before, avoid: last.node.filter(|_| rejected) })
        }
    }
}

/// Whether the last task of a slot of which only outdated ones are left was ended to make room. One
/// that waited for a place when its template changed is asked for anew.
fn lost_its_place(tasks: &[&Task], old: Option<Old<'_>>) -> bool {
    let kept = tasks.iter().filter(|task| task.desired != DesiredState::Remove);
    let last = kept.max_by_key(|task| recency(task));
    old.is_none() && last.is_some_and(|task| task.eviction.is_some())
}

/// A task that goes on elsewhere in the place of `last`, with what it knows and what is left of
/// its delay. That is no restart and counts as none. What was displaced and then found a place is as
/// good as any other.
fn heir(last: &Task) -> Seed {
    let waits = last.desired == DesiredState::Ready;
    let displaced = last.eviction.is_some() || last.restart.displaced && last.node.is_none();
    let record = RestartRecord { displaced, ..last.restart };
    Seed { record, not_before: last.not_before.filter(|_| waits), avoid: None }
}

/// Whether `task` was asked to end and may still run on a node that is heard from.
pub(super) fn is_stopping(facts: Facts<'_>, task: &Task) -> bool {
    if task.desired < DesiredState::Shutdown || task.status.state.is_terminal() {
        return false;
    }
    match facts.host(task.node) {
        Host::Alive(_) => true,
        Host::Unplaced | Host::Gone | Host::Down(_) => false,
    }
}
