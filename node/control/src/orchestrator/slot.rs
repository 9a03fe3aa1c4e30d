//! One slot: which of its tasks serves it, which have to end, and whether it needs a new one.
//!
//! Knows nothing of other slots; how many slots may change at a time is `update`'s.

use swarm_model::meta::Revision;
use swarm_model::restart::RestartRecord;
use swarm_model::service::Service;
use swarm_model::task::{Slot, Task};
use swarm_model::task_state::{DesiredState, ObservedState};
use swarm_model::update::Order;

use super::need::{Old, Seed};
use super::update;
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
        /// The update under which the slot failed, if it did.
        under: Option<Revision>,
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
    /// What its tasks are made from.
    pub(super) service: &'a Service,
    /// What it were to do, had it its turn in an update, while its tasks are made as before.
    pub(super) turn: Option<Box<SlotPlan<'a>>>,
    /// The task that is as it should be, running or on its way.
    pub(super) keep: Option<&'a Task>,
    /// A running task that serves until `keep`, or what is created next, runs.
    pub(super) old: Option<Old<'a>>,
    /// Tasks whose time is over, though they serve: stopped as far as the budget allows.
    pub(super) overdue: Vec<&'a Task>,
    /// Tasks to stop now.
    pub(super) stop: Vec<&'a Task>,
    /// Whether a silent node holds the slot.
    pub(super) held: bool,
    /// Whether a task of it is being stopped and has not ended.
    pub(super) ending: bool,
    /// What it needs.
    pub(super) next: Next,
    /// Whether what it needs has its turn in an update.
    pub(super) seated: bool,
}

/// Whether `task` is seen running.
pub(super) fn runs(task: &Task) -> bool {
    task.status.state == ObservedState::Running
}

/// Decides for one slot. One that had no turn in an update yet goes on with what is known to run.
pub(super) fn assess<'a>(
    facts: Facts<'a>,
    service: &'a Service,
    slot: Slot,
    tasks: &[&'a Task],
) -> SlotPlan<'a> {
    let former = facts.former.get(&service.id).filter(|_| !had_its_turn(service, tasks));
    let Some(former) = former else { return assess_as(facts, service, slot, tasks) };
    let mut before = assess_as(facts, former, slot, tasks);
    // What is given up on a silent node holds the slot no more.
    let (gone, left): (Vec<&Task>, Vec<_>) = tasks.iter().copied().partition(|task| {
        let silent = matches!(facts.host(task.node), Host::Down(_));
        silent && before.stop.iter().any(|stopped| stopped.id == task.id)
    });
    let mut plan = assess_as(facts, service, slot, &left);
    plan.stop.extend(gone);
    if let (Next::Create { seed, .. }, Some(keep)) = (&mut plan.next, before.keep) {
        seed.record.displaced |= keep.restart.displaced && keep.node.is_none();
    }
    before.turn = Some(Box::new(plan));
    if let Next::Create { voluntary: true, .. } = before.next {
        before.next = Next::Nothing;
    }
    before
}

/// Whether the update of `service` brought a task into the slot of `tasks`.
fn had_its_turn(service: &Service, tasks: &[&Task]) -> bool {
    let update = service.update.as_ref().map(|update| update.id);
    tasks.iter().any(|task| {
        let counts = task.is_active() || task.update.is_some() && task.update == update;
        counts && task.desired != DesiredState::Remove && is_current(task, service)
    })
}

/// Decides for one slot whose tasks are made from the template of `service`.
fn assess_as<'a>(
    facts: Facts<'a>,
    service: &'a Service,
    slot: Slot,
    tasks: &[&'a Task],
) -> SlotPlan<'a> {
    let ending = tasks.iter().any(|task| is_stopping(facts, task));
    let mut plan = SlotPlan { ending, ..SlotPlan::empty(service, slot) };
    let mut replaced = Vec::new();
    let mut held = Vec::new();
    for task in tasks.iter().copied().filter(|task| task.is_active()) {
        let stance = stance(facts, service, task);
        match stance {
            Stance::Good => plan.offer(task),
            Stance::Held => held.push(task),
            Stance::Lost => plan.stop.push(task),
            Stance::Outdated
            | Stance::Drained { .. }
            | Stance::Forbidden
            | Stance::Evicted { .. } => {
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
        plan.offer_old(old, facts, service);
    }
    if plan.keep.is_none() && !plan.held {
        plan.next = next(facts, service, tasks, plan.old);
    }
    plan
}

impl<'a> SlotPlan<'a> {
    /// Nothing is there and nothing is needed.
    pub(super) fn empty(service: &'a Service, slot: Slot) -> Self {
        Self {
            slot,
            service,
            turn: None,
            keep: None,
            old: None,
            overdue: Vec::new(),
            stop: Vec::new(),
            held: false,
            ending: false,
            next: Next::Nothing,
            seated: false,
        }
    }

    /// Keeps the better one of `task` and the one kept so far: what runs, has a node, is newer.
    pub(super) fn offer(&mut self, task: &'a Task) {
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

    /// Lets `old` serve on if it runs, nothing better does, and its time is not over. A new version
    /// is nothing better before it has proven itself.
    fn offer_old(&mut self, old: Old<'a>, facts: Facts<'_>, service: &Service) {
        let expired = match old.stance {
            Stance::Drained { deadline } => deadline.is_some_and(|at| at <= facts.now),
            Stance::Outdated | Stance::Forbidden | Stance::Evicted { .. } => false,
            Stance::Good | Stance::Lost | Stance::Held => true,
        };
        let taken_over = self.keep.is_some_and(|keep| {
            let unproven = update::unproven_until(facts, service, keep).is_some();
            runs(keep) && !(unproven && old.stance == Stance::Outdated)
        });
        let served = self.held || self.old.is_some() || taken_over;
        if served || !runs(old.task) {
            self.stop.push(old.task);
        } else {
            self.overdue.extend(expired.then_some(old.task));
            self.old = Some(old);
        }
    }

    /// Whether a task serves it.
    pub(super) fn is_served(&self) -> bool {
        self.old.is_some() || self.keep.is_some_and(runs)
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
            Next::Finished { failed, .. } => failed,
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
    let waits_for_old = update::order(service) == Some(Order::StopFirst);
    for task in tasks.iter().copied() {
        let removed = task.desired == DesiredState::Remove;
        let in_the_way = removed || waits_for_old || is_current(task, service);
        if in_the_way && is_stopping(facts, task) {
            return Next::Wait;
        }
        let newer = newest.is_none_or(|newest| recency(newest) < recency(task));
        if !removed && is_current(task, service) && newer {
            newest = Some(task);
        }
    }
    // What merely would be better off elsewhere can wait for its turn.
    let voluntary = old.is_some_and(|old| old.moves_to().is_some());
    let create = |seed| Next::Create { seed, voluntary };
    let outdated = old.is_some_and(|old| old.stance == Stance::Outdated);
    let Some(last) = newest else {
        let record = RestartRecord { displaced: lost_its_place(tasks, old), ..Default::default() };
        return Next::Create { seed: Seed { record, ..Seed::default() }, voluntary: outdated };
    };
    // Before an update has its turn, what ended under an earlier one gives way to what ran before.
    let former = facts.former.get(&service.id).map(|former| former.template_version);
    let is_over = former.is_some_and(|former| former != service.template_version)
        && !had_its_turn(service, tasks);
    if outdated && (is_over || last.desired >= DesiredState::Shutdown) {
        // The template came back: what was made from it then was replaced by what serves now.
        let failed_update = last.restart.failed_update;
        let record = RestartRecord { failed_update, ..RestartRecord::default() };
        return Next::Create { seed: Seed { record, ..Seed::default() }, voluntary: true };
    }
    if is_over || !ended_by_itself(last) || last.status.state == ObservedState::Orphaned {
        return create(heir(last));
    }
    match restart::after_end(last, &service.template.restart_policy, facts.now) {
        Verdict::Finished { failed } => {
            Next::Finished { failed, under: update::failed_under(service, last) }
        }
        Verdict::Restart { record, not_before } => {
            let failed_update = update::failed_under(service, last);
            let record = RestartRecord { failed_update, ..record };
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
    old.is_none() && last.is_some_and(|task| task.is_preempted())
}

/// A task that goes on elsewhere in the place of `last`, with what it knows and what is left of
/// its delay. That is no restart and counts as none. What was displaced and then found a place is as
/// good as any other.
pub(super) fn heir(last: &Task) -> Seed {
    let waits = last.desired == DesiredState::Ready;
    let displaced = last.is_preempted() || last.restart.displaced && last.node.is_none();
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
