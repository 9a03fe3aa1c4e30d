//! Which tasks of lower priority end so that one of higher priority fits.
//!
//! Only when no node fits, never for a task that itself stands for one that was ended so (no
//! cascades), and never more tasks than needed. What is freed is kept for the task it is for.

use std::cmp::Reverse;

use swarm_model::id::NodeId;
use swarm_model::resources::Resources;
use swarm_model::service::Priority;
use swarm_model::task::Task;

use super::class::Class;
use super::filter;
use super::node_info::NodeSet;
use crate::facts::Facts;

/// Nodes whose tasks are looked at in one round: a crowd that waits in a full cluster must not hold
/// everything else up.
const EXAMINED_MAX: usize = 50_000;

/// What came of looking for room.
#[derive(Debug)]
pub(crate) enum Room<'a> {
    /// There is none to be made, or it is being made already.
    None,
    /// Too many others asked before, in this round.
    Later,
    /// These tasks have to end, on one node.
    Made(Vec<&'a Task>),
}

/// What a round knows of priorities.
#[derive(Debug, Default)]
pub(super) struct Preemption {
    /// The lowest priority of any service.
    lowest: Option<Priority>,
    examined: usize,
}

/// How much the end of some tasks on one node would hurt: the least is chosen.
type Harm = (Priority, u32, usize, usize);

impl Preemption {
    /// Chooses the tasks to end for `task`, and keeps what they free for it.
    pub(super) fn make_room<'a>(
        &mut self,
        facts: Facts<'a>,
        nodes: &mut NodeSet<'a>,
        class: &mut Class<'a>,
        task: &Task,
        only: Option<NodeId>,
        spared: &dyn Fn(&Task) -> bool,
    ) -> Room<'a> {
        let priority = class.service.spec.priority;
        let services = || facts.view.services.values().map(|service| service.spec.priority).min();
        let lowest = *self.lowest.get_or_insert_with(|| services().unwrap_or(priority));
        let waits = nodes.held_for(task.id).is_some();
        if priority <= lowest || task.restart.displaced || waits || class.yields_nowhere {
            return Room::None;
        }
        let places = match only {
            Some(node) => nodes.position(node).map_or(0..0, |at| at..at + 1),
            None => 0..nodes.len(),
        };
        let mut best: Option<(Harm, Vec<&'a Task>)> = None;
        for at in places {
            if filter::check_held(&class.candidate(nodes, at)).is_err() || !class.may_use(nodes, at)
            {
                continue;
            }
            if self.examined == EXAMINED_MAX {
                return best.map_or(Room::Later, |(harm, tasks)| made(nodes, harm, task, tasks));
            }
            self.examined += 1;
            if let Some(tasks) = victims(facts, nodes, class, at, spared) {
                let harm = harm(facts, &tasks, at);
                if best.as_ref().is_none_or(|(least, _)| harm < *least) {
                    best = Some((harm, tasks));
                }
            }
        }
        match best {
            Some((harm, tasks)) => made(nodes, harm, task, tasks),
            None => {
                class.yields_nowhere = only.is_none();
                Room::None
            }
        }
    }
}

fn made<'a>(nodes: &mut NodeSet<'a>, harm: Harm, task: &Task, tasks: Vec<&'a Task>) -> Room<'a> {
    let (_, _, _, at) = harm;
    nodes.hold(at, task, &tasks);
    Room::Made(tasks)
}

/// Whether `task` fits at `at`, where room is kept for it, without what still ends there.
pub(super) fn fits_by_itself(
    nodes: &NodeSet<'_>,
    class: &Class<'_>,
    task: &Task,
    at: usize,
) -> bool {
    let mut place = class.candidate(nodes, at);
    place.free = nodes.free_for(at, place.needs(), task.id);
    filter::check(&place).is_ok()
}

fn priority_of(facts: Facts<'_>, task: &Task) -> Priority {
    facts.view.services.get(&task.service).map_or(Priority::default(), |it| it.spec.priority)
}

/// The tasks to end on the node at `at`, the least important and youngest ones, no more than needed;
/// `None` when even all of them would not do.
fn victims<'a>(
    facts: Facts<'a>,
    nodes: &NodeSet<'a>,
    class: &Class<'a>,
    at: usize,
    spared: &dyn Fn(&Task) -> bool,
) -> Option<Vec<&'a Task>> {
    let needs = &class.service.template.resources.reservations;
    let node = nodes.at(at).node.id;
    let below = |task: &&'a Task| {
        let priority = priority_of(facts, task);
        task.is_active() && priority < class.service.spec.priority && !spared(task)
    };
    let mut lower: Vec<&Task> =
        facts.view.tasks_on(node).map(AsRef::as_ref).filter(below).collect();
    lower.sort_by_key(|task| (priority_of(facts, task), Reverse(task.meta.created_at), task.id));
    let mut free = nodes.free(at, needs);
    let mut chosen = Vec::new();
    for task in lower {
        if free.covers(needs) {
            break;
        }
        if helps(&task.template.resources.reservations, needs, &free) {
            free.add(&task.template.resources.reservations);
            chosen.push(task);
        }
    }
    if !free.covers(needs) || chosen.is_empty() {
        return None;
    }
    // The most important one that turns out not to be needed goes on first.
    for at in (0..chosen.len()).rev() {
        let without = free.clone().minus(&chosen[at].template.resources.reservations);
        if without.covers(needs) {
            free = without;
            chosen.remove(at);
        }
    }
    Some(chosen)
}

/// Whether `freed` is of what is short.
fn helps(freed: &Resources, needs: &Resources, free: &Resources) -> bool {
    freed.cpu.0 > 0 && free.cpu < needs.cpu
        || freed.memory.0 > 0 && free.memory < needs.memory
        || needs
            .generic
            .iter()
            .any(|(kind, count)| freed.generic(kind) > 0 && free.generic(kind) < *count)
}

fn harm(facts: Facts<'_>, tasks: &[&Task], at: usize) -> Harm {
    let priorities = || tasks.iter().map(|task| priority_of(facts, task));
    let highest = priorities().max().unwrap_or(Priority(0));
    let sum = priorities().map(|priority| u32::from(priority.0)).sum();
    (highest, sum, tasks.len(), at)
}

/// Where room could be made for one more task of a class, and what would have to end for it.
pub(super) fn outlook<'a>(
    facts: Facts<'a>,
    nodes: &mut NodeSet<'a>,
    class: &Class<'a>,
) -> Option<(usize, Vec<&'a Task>)> {
    let found = (0..nodes.len()).filter_map(|at| {
        let open = filter::check_held(&class.candidate(nodes, at)).is_ok();
        if !open || !class.may_use(nodes, at) {
            return None;
        }
        let tasks = victims(facts, nodes, class, at, &|_| false)?;
        Some((harm(facts, &tasks, at), at, tasks))
    });
    let (_, at, tasks) = found.min_by_key(|(harm, _, _)| *harm)?;
    Some((at, tasks))
}
