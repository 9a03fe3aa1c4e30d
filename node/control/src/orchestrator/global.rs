//! Global services: one slot on each node that meets the constraints.
//!
//! A slot belongs to its node: a silent node keeps it, a paused one keeps what it runs, a drained
//! one loses its task without a replacement.

use std::collections::BTreeMap;

use swarm_model::node::{Availability, Node};
use swarm_model::task::{Slot, Task};

use super::slot::{self, Next, SlotPlan};
use super::update::{self, Missing, Seat, Steering};
use super::{Round, by_slot};
use crate::enforcer::meets_constraints;
use crate::scheduler::Wish;

/// Decides for a global service.
pub(super) fn plan<'a>(round: &mut Round<'a, '_>, tasks: &[&'a Task]) {
    let mut slots: BTreeMap<Slot, &[&'a Task]> = by_slot(tasks).collect();
    let mut live: Vec<(&Node, &[&'a Task], SlotPlan<'a>)> = Vec::new();
    let view = round.facts.view;
    for (id, node) in &view.nodes {
        let slot = Slot::Node(*id);
        if !meets_constraints(round.service, node) {
            continue;
        }
        let tasks = slots.remove(&slot).unwrap_or_default();
        live.push((node, tasks, assess(round, node, slot, tasks)));
    }
    for tasks in slots.into_values() {
        round.bury(tasks);
    }
    let seats = live.iter_mut().map(|(_, tasks, plan)| Seat { tasks, plan }).collect();
    if update::steer(round, seats, Missing::default()) == Steering::Halt {
        return;
    }
    for (node, tasks, plan) in live {
        let wish = Wish { only: Some(node.id), avoid: None };
        round.act(tasks, plan, wish);
    }
}

fn assess<'a>(round: &Round<'a, '_>, node: &Node, slot: Slot, tasks: &[&'a Task]) -> SlotPlan<'a> {
    let mut plan = slot::assess(round.facts, round.service, slot, tasks);
    if let Some(turn) = &mut plan.turn {
        heed(node, turn);
    }
    heed(node, &mut plan);
    plan
}

/// What the node of a slot takes, and keeps.
fn heed(node: &Node, plan: &mut SlotPlan<'_>) {
    if node.spec.availability == Availability::Drain {
        let old = plan.old.take().map(|old| old.task);
        let (serve, wait): (Vec<_>, _) =
            plan.keep.take().into_iter().chain(old).partition(|task| slot::runs(task));
        plan.overdue = serve;
        plan.stop.extend(wait);
    }
    let may_create = node.takes_tasks();
    if let Next::Create { .. } = plan.next
        && !may_create
    {
        plan.next = Next::Nothing;
    }
}
