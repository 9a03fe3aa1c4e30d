//! Replicated services: as many slots as the service wants, wherever they fit.
//!
//! Slots have the lowest free numbers; a scale-down frees those whose loss hurts least.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use swarm_model::id::NodeId;
use swarm_model::task::{Slot, Task};
use swarm_model::task_state::DesiredState;

use super::need::{Need, Seed};
use super::slot::{self, SlotPlan};
use super::update::{self, Missing, Seat, Steering};
use super::{Round, by_slot};
use crate::draft::CHANGES_MAX;
use crate::scheduler::Wish;

/// A slot that lives: its tasks and what was decided for it.
type Live<'t, 'a> = (&'t [&'a Task], SlotPlan<'a>);

/// Decides for a replicated service.
pub(super) fn plan<'a>(round: &mut Round<'a, '_>, tasks: &[&'a Task], replicas: u32) {
    let wanted = usize::try_from(replicas).unwrap_or(usize::MAX);
    let mut live: Vec<Live<'_, 'a>> = Vec::new();
    // Numbers of dead slots where a task is still ending.
    let mut ending = BTreeSet::new();
    for (slot, tasks) in by_slot(tasks) {
        let dead = tasks.iter().all(|task| task.desired == DesiredState::Remove);
        let Slot::Replica(number) = slot else {
            round.bury(tasks);
            continue;
        };
        if dead {
            round.bury(tasks);
            if tasks.iter().any(|task| slot::is_stopping(round.facts, task)) {
                ending.insert(number);
            }
        } else {
            live.push((tasks, slot::assess(round.facts, round.service, slot, tasks)));
        }
    }
    if live.len() > wanted {
        let surplus = surplus(&live, live.len() - wanted);
        live.retain(|(tasks, plan)| {
            let spared = !surplus.contains(&plan.slot);
            if !spared {
                round.bury(tasks);
            }
            spared
        });
    }
    let taken: BTreeSet<Slot> = live.iter().map(|(_, plan)| plan.slot).collect();
    let free = (1..).filter(|number| !taken.contains(&Slot::Replica(*number)));
    let all = wanted - live.len();
    let (_, open): (Vec<u32>, Vec<_>) = free.take(all).partition(|number| ending.contains(number));
    let missing = Missing { all, open: open.len() };
    let seats = live.iter_mut().map(|(tasks, plan)| Seat { tasks, plan }).collect();
    let Steering::GoOn { fresh } = update::steer(round, seats, missing) else { return };
    create_missing(round, open, fresh);
    for (tasks, plan) in live {
        round.act(tasks, plan, Wish::default());
    }
}

/// Asks for tasks in the slots `open`. In an update `turns` of them have their turn at once, the others
/// run first what is known to.
fn create_missing(round: &mut Round<'_, '_>, open: Vec<u32>, turns: usize) {
    let former = round.facts.former.get(&round.service.id);
    for (at, number) in open.into_iter().enumerate() {
        if round.needs.new.len() >= CHANGES_MAX {
            round.draft.leave(round.service.id);
            break;
        }
        let seated = former.is_some() && at < turns;
        let service = former.filter(|_| !seated).unwrap_or(round.service);
        let slot = Slot::Replica(number);
        let need = Need {
            service,
            slot,
            wish: Wish::default(),
            old: None,
            replaced: Vec::new(),
            voluntary: false,
            seated,
        };
        round.needs.new.push((Seed::default(), need));
    }
}

/// The `count` slots to free: first those where nothing runs, then from the nodes that have most
/// tasks of the service, in both cases the highest numbers first.
fn surplus(live: &[Live<'_, '_>], count: usize) -> BTreeSet<Slot> {
    let mut idle = Vec::new();
    let mut by_node: BTreeMap<NodeId, Vec<Slot>> = BTreeMap::new();
    for (_, plan) in live {
        match serving_node(plan) {
            Some(node) => by_node.entry(node).or_default().push(plan.slot),
            None => idle.push(plan.slot),
        }
    }
    let mut chosen: BTreeSet<Slot> = idle.into_iter().rev().take(count).collect();
    let mut loads: BinaryHeap<_> = by_node
        .into_values()
        .filter_map(|mut slots| Some((slots.len(), slots.pop()?, slots)))
        .collect();
    while chosen.len() < count
        && let Some((load, slot, mut rest)) = loads.pop()
    {
        chosen.insert(slot);
        if let Some(next) = rest.pop() {
            loads.push((load - 1, next, rest));
        }
    }
    chosen
}

/// The node where a slot's task runs.
fn serving_node(plan: &SlotPlan<'_>) -> Option<NodeId> {
    let serving = plan.old.map(|old| old.task).or(plan.keep)?;
    if slot::runs(serving) { serving.node } else { None }
}
