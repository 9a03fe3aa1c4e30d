//! One slot of a run that has yet to succeed: which task is at it, and whether it needs another one.
//!
//! Knows nothing of seats.

use swarm_model::service::Service;
use swarm_model::task::{Slot, Task};
use swarm_model::task_state::{DesiredState, ObservedState};
use swarm_model::view::View;

use super::super::need::Seed;
use super::super::slot::{self, Next, SlotPlan, heir, runs};
use super::policy;
use crate::enforcer::{Stance, stance};
use crate::facts::{Facts, Host, ended_by_itself, recency};
use crate::restart::{self, Verdict};

/// Whether `task` may still run where somebody hears of it.
pub(super) fn still_there(view: &View, task: &Task) -> bool {
    if !task.holds_node() {
        return false;
    }
    let node = task.node.and_then(|node| view.nodes.get(&node));
    node.is_some_and(|node| match Host::member(node) {
        Host::Alive(_) => true,
        Host::Unplaced | Host::Gone | Host::Down(_) => false,
    })
}

/// Decides for one slot that has yet to succeed.
pub(super) fn assess<'a>(
    facts: Facts<'a>,
    service: &'a Service,
    slot: Slot,
    tasks: &[&'a Task],
) -> SlotPlan<'a> {
    let mut plan = SlotPlan::empty(service, slot);
    for task in tasks.iter().copied().filter(|task| task.is_active()) {
        match stance(facts, service, task) {
            // Nobody asks tasks of jobs to move.
            Stance::Good | Stance::Evicted { .. } => plan.offer(task),
            // It was made from what the job was; one without a place is made anew.
            Stance::Outdated if task.node.is_some() => plan.offer(task),
            Stance::Drained { deadline } => {
                let expired = deadline.is_some_and(|at| at <= facts.now);
                if runs(task) && !expired { plan.offer(task) } else { plan.stop.push(task) }
            }
            Stance::Held => plan.held = true,
            Stance::Outdated | Stance::Forbidden | Stance::Lost => plan.stop.push(task),
        }
    }
    if plan.keep.is_none() && !plan.held {
        plan.next = next(facts, service, tasks, &plan.stop);
    }
    plan
}

/// What a slot without a task needs. Never a second one beside one that may still run where it is heard.
fn next(facts: Facts<'_>, service: &Service, tasks: &[&Task], stop: &[&Task]) -> Next {
    let asked = tasks.iter().any(|task| slot::is_stopping(facts, task));
    if asked || stop.iter().any(|task| still_there(facts.view, task)) {
        return Next::Wait;
    }
    let create = |seed| Next::Create { seed, voluntary: false };
    let kept = tasks.iter().filter(|task| task.desired != DesiredState::Remove);
    let Some(last) = kept.max_by_key(|task| recency(task)) else { return create(Seed::default()) };
    if !ended_by_itself(last) || last.status.state == ObservedState::Orphaned {
        return create(heir(last));
    }
    match restart::after_end(last, &policy(service), facts.now) {
        Verdict::Restart { record, not_before } => {
            let rejected = last.status.state == ObservedState::Rejected;
            create(Seed { record, not_before, avoid: last.node.filter(|_| rejected) })
        }
        Verdict::Finished { failed: true } => Next::Finished { failed: true, under: None },
        // It counted for nothing: its run had not begun, or another had its number.
        Verdict::Finished { failed: false } => create(Seed::default()),
    }
}
