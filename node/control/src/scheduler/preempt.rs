//! Which tasks of lower priority end so that one of higher priority fits.
//!
//! Only when no node fits, never for a task that itself stands for one that was ended so (no
//! cascades), and never more tasks than needed: what ends anyway is waited for. What comes free is
//! kept for the task it is for.

use std::cmp::Reverse;
use std::sync::Arc;

use swarm_model::id::NodeId;
use swarm_model::resources::Resources;
use swarm_model::service::Priority;
use swarm_model::task::Task;

use super::class::Class;
use super::coming::{self, Fate};
use super::filter;
use super::node_info::NodeSet;
use crate::budget::{Budgets, Spent};
use crate::facts::Facts;

/// Nodes whose tasks are looked at in one round: a crowd that waits in a full cluster must not hold
/// everything else up. (Tests reach it with few nodes.)
const EXAMINED_MAX: usize = if cfg!(test) { 50 } else { 50_000 };
/// Of these the most important ones come first; the rest is shared by chance, so that a few that
/// nothing can help do not keep all others waiting for ever.
const EXAMINED_IN_ORDER: usize = EXAMINED_MAX / 2;

/// What came of looking for room.
#[derive(Debug)]
pub(crate) enum Room<'a> {
    /// There is none to be made, or it comes without that.
    None,
    /// Too many others asked before, in this round.
    Later,
    /// These tasks have to end, on one node.
    Made(Vec<&'a Task>),
}

/// What a round knows of priorities.
#[derive(Debug)]
pub(super) struct Preemption {
    /// The lowest priority of any service.
    lowest: Option<Priority>,
    /// Services of which the round places tasks.
    services: usize,
    examined: usize,
}

/// How much the end of some tasks on one node would hurt: the least is chosen.
type Harm = (Priority, u32, usize, usize);

/// Who asks for room.
#[derive(Clone, Copy)]
pub(super) struct Asker<'t> {
    /// The task, which waits; `None` for one more task of a service.
    pub(super) task: Option<&'t Task>,
    /// What the plan does to others.
    pub(super) fate: &'t dyn Fn(&Task) -> Fate,
}

impl Preemption {
    /// For a round that places tasks of so many services.
    pub(super) fn new(services: usize) -> Self {
        Self { lowest: None, services, examined: 0 }
    }

    /// Chooses the tasks to end for `task`, if any have to, and keeps what they free for it.
    pub(super) fn make_room<'a>(
        &mut self,
        facts: Facts<'a>,
        nodes: &mut NodeSet<'a>,
        class: &mut Class<'a>,
        task: &Task,
        only: Option<NodeId>,
        fate: &dyn Fn(&Task) -> Fate,
    ) -> Room<'a> {
        let priority = class.service.spec.priority;
        let services = || facts.view.services.values().map(|service| service.spec.priority).min();
        let lowest = *self.lowest.get_or_insert_with(|| services().unwrap_or(priority));
        if priority <= lowest || task.restart.displaced {
            return Room::None;
        }
        let asker = Asker { task: Some(task), fate };
        let held = nodes.held_for(task.id);
        if let Some((at, ending)) = held {
            nodes.release(task.id);
            let comes = coming(facts, nodes, class, at, asker);
            if is_nothing(&nodes.lacks(at, reservation(class), &comes)) {
                nodes.hold(at, task, reservation(class), ending, comes);
                return Room::None;
            }
            // Not all that was to end for it did: the search begins anew, with what does end. It does
            // not wait for another turn, or others would take meanwhile what did end.
        } else if class.yields_nowhere {
            return Room::None;
        } else if only.is_none() && !self.has_turn(facts, class, nodes.len()) {
            return Room::Later;
        }
        let places = match only {
            Some(node) => nodes.position(node).map_or(0..0, |at| at..at + 1),
            None => 0..nodes.len(),
        };
        let mut best: Option<(Harm, Vec<&'a Task>)> = None;
        let mut budgets = Budgets::default();
        for at in places {
            if !may_make_room(facts, nodes, class, at, asker) {
                continue;
            }
            if self.examined == EXAMINED_MAX {
                return match best {
                    Some((harm, tasks)) => made(facts, nodes, class, harm, tasks, asker),
                    None => {
                        if let Some((at, ending)) = held {
                            let comes = coming(facts, nodes, class, at, asker);
                            nodes.hold(at, task, reservation(class), ending, comes);
                        }
                        Room::Later
                    }
                };
            }
            self.examined += 1;
            if let Some(tasks) = victims(facts, nodes, class, at, asker, &mut budgets) {
                let harm = harm(facts, &tasks, at);
                if best.as_ref().is_none_or(|(least, _)| harm < *least) {
                    best = Some((harm, tasks));
                }
            }
            if best.as_ref().is_some_and(|(_, tasks)| tasks.is_empty()) {
                break;
            }
        }
        match best {
            Some((harm, tasks)) => made(facts, nodes, class, harm, tasks, asker),
            None => {
                class.yields_nowhere = only.is_none();
                Room::None
            }
        }
    }

    /// Whether tasks of `class` may still look for room in this round.
    fn has_turn(&self, facts: Facts<'_>, class: &Class<'_>, nodes: usize) -> bool {
        let share = (EXAMINED_MAX - EXAMINED_IN_ORDER).checked_div(nodes).unwrap_or(1).max(1);
        let rounds = self.services.div_ceil(share).max(1);
        let second = u128::from(facts.now.as_millis() / 1000);
        let seed = class.service.id.raw() ^ (second << 64) ^ second;
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) >> 64;
        let rounds = u128::try_from(rounds).unwrap_or(u128::MAX);
        self.examined < EXAMINED_IN_ORDER || mixed.is_multiple_of(rounds)
    }
}

/// Keeps room on the best node.
fn made<'a>(
    facts: Facts<'a>,
    nodes: &mut NodeSet<'a>,
    class: &Class<'a>,
    harm: Harm,
    tasks: Vec<&'a Task>,
    asker: Asker<'_>,
) -> Room<'a> {
    let (_, _, _, at) = harm;
    let Some(task) = asker.task else { return Room::None };
    let mut comes = coming(facts, nodes, class, at, asker);
    for victim in &tasks {
        comes.add(&victim.template.resources.reservations);
    }
    nodes.hold(at, task, reservation(class), tasks.len(), comes);
    if tasks.is_empty() { Room::None } else { Room::Made(tasks) }
}

/// Keeps for one more task of `class` what ends for `before`, as long as that is enough for it.
pub(super) fn pass_on<'a>(
    facts: Facts<'a>,
    nodes: &mut NodeSet<'a>,
    class: &Class<'a>,
    before: &Task,
    fate: &dyn Fn(&Task) -> Fate,
) {
    let asker = Asker { task: Some(before), fate };
    let makers: Vec<&Arc<Task>> = facts.view.makers_of_room(before.id).collect();
    let node = makers.first().and_then(|task| task.node);
    let Some(at) = node.and_then(|node| nodes.position(node)) else { return };
    let comes = coming(facts, nodes, class, at, asker);
    let enough = is_nothing(&nodes.lacks(at, reservation(class), &comes));
    if enough && may_make_room(facts, nodes, class, at, asker) {
        nodes.hold(at, before, reservation(class), makers.len(), comes);
    }
}

/// What a task of `class` reserves.
fn reservation<'a>(class: &Class<'a>) -> &'a Resources {
    &class.service.template.resources.reservations
}

fn is_nothing(resources: &Resources) -> bool {
    *resources == Resources::default()
}

/// What comes free at `at` of itself: for who asks also a task of its own slot, however long that
/// takes to end.
fn coming(
    facts: Facts<'_>,
    nodes: &NodeSet<'_>,
    class: &Class<'_>,
    at: usize,
    asker: Asker<'_>,
) -> Resources {
    let node = nodes.at(at).node.id;
    let mut comes = coming::total(facts.view, node, asker.fate);
    let own = |before: &&Arc<Task>| {
        let ends = coming::ends(before, asker.fate) && !coming::ends_soon(before, asker.fate);
        before.node == Some(node) && ends
    };
    let slot = asker.task.map(|task| task.slot);
    let slot = slot.into_iter().flat_map(|slot| facts.view.tasks_in(class.service.id, slot));
    for before in slot.filter(own) {
        comes.add(&before.template.resources.reservations);
    }
    comes
}

/// Whether room may be made at `at`, whatever has to end for it.
fn may_make_room<'a>(
    facts: Facts<'a>,
    nodes: &mut NodeSet<'a>,
    class: &Class<'a>,
    at: usize,
    asker: Asker<'_>,
) -> bool {
    let node = nodes.at(at).node;
    if !node.description.resources.covers(reservation(class)) || !class.may_use(nodes, at) {
        return false;
    }
    let mut place = class.candidate(nodes, at);
    place.held = place.held.saturating_add(nodes.held_by(at, class.service.id));
    if filter::check_held(&place).is_ok() {
        return true;
    }
    // Those that end are as good as gone.
    let own = |task: &&Arc<Task>| task.service == class.service.id;
    let ending = facts.view.tasks_on(node.id).filter(own);
    let ending = ending.filter(|task| coming::ends(task, asker.fate)).count();
    place.held = place.held.saturating_sub(u32::try_from(ending).unwrap_or(u32::MAX));
    filter::check_held(&place).is_ok()
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

/// The tasks to end on the node at `at`, the least important and youngest ones, no more than needed:
/// none when what ends anyway is enough, `None` when even all of them would not do.
fn victims<'a>(
    facts: Facts<'a>,
    nodes: &NodeSet<'a>,
    class: &Class<'a>,
    at: usize,
    asker: Asker<'_>,
    budgets: &mut Budgets,
) -> Option<Vec<&'a Task>> {
    let comes = coming(facts, nodes, class, at, asker);
    let short = nodes.lacks(at, reservation(class), &comes);
    if is_nothing(&short) {
        return Some(Vec::new());
    }
    let node = nodes.at(at).node.id;
    let below = |task: &&'a Task| {
        let lesser = priority_of(facts, task) < class.service.spec.priority;
        task.is_active() && task.holds_node() && lesser && (asker.fate)(task) == Fate::Open
    };
    let mut lower: Vec<&Task> =
        facts.view.tasks_on(node).map(AsRef::as_ref).filter(below).collect();
    lower.sort_by_key(|task| (priority_of(facts, task), Reverse(task.meta.created_at), task.id));
    let mut freed = Resources::default();
    let (mut chosen, mut spent) = (Vec::new(), Spent::default());
    let ends = |task: &Task| coming::ends(task, asker.fate);
    for task in lower {
        if freed.covers(&short) {
            break;
        }
        if helps(&task.template.resources.reservations, &short, &freed)
            && budgets.allow(facts, task, &chosen, &mut spent, &ends)
        {
            freed.add(&task.template.resources.reservations);
            chosen.push(task);
        }
    }
    if !freed.covers(&short) {
        return None;
    }
    // The most important one that turns out not to be needed goes on first.
    for at in (0..chosen.len()).rev() {
        let without = freed.clone().minus(&chosen[at].template.resources.reservations);
        if without.covers(&short) {
            freed = without;
            chosen.remove(at);
        }
    }
    Some(chosen)
}

/// Whether `more` is of what is still short.
fn helps(more: &Resources, short: &Resources, freed: &Resources) -> bool {
    more.cpu.0 > 0 && freed.cpu < short.cpu
        || more.memory.0 > 0 && freed.memory < short.memory
        || short
            .generic
            .iter()
            .any(|(kind, count)| more.generic(kind) > 0 && freed.generic(kind) < *count)
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
    let asker = Asker { task: None, fate: &|_| Fate::Open };
    let mut budgets = Budgets::default();
    let found = (0..nodes.len()).filter_map(|at| {
        if !may_make_room(facts, nodes, class, at, asker) {
            return None;
        }
        let tasks = victims(facts, nodes, class, at, asker, &mut budgets)?;
        Some((harm(facts, &tasks, at), at, tasks))
    });
    let (_, at, tasks) = found.min_by_key(|(harm, _, _)| *harm)?;
    Some((at, tasks)).filter(|(_, tasks)| !tasks.is_empty())
}
