//! What each node offers, what is taken of it, and what is known of it in the words of a service.
//!
//! Counts only: a task takes its reservation from the moment it has the node until it has ended,
//! and room that is kept for one task is nobody else's. Lives for one round.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use swarm_model::id::{NodeId, ServiceId, TaskId};
use swarm_model::node::Node;
use swarm_model::placement::{Constraint, NodeAttribute};
use swarm_model::resources::Resources;
use swarm_model::task::Task;
use swarm_model::units::{Bytes, MilliCpu};
use swarm_model::view::{NodeUsage, View};

use super::coming::{self, Fate};

/// One node and what is taken of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NodeInfo<'a> {
    /// The node.
    pub(crate) node: &'a Node,
    /// What the view says is taken.
    usage: Option<&'a NodeUsage>,
    /// Whether it is heard from and takes tasks. With what is offered it stands here as well, so that
    /// looking at all nodes is a walk through one piece of memory.
    pub(crate) open: bool,
    offered_cpu: MilliCpu,
    offered_memory: Bytes,
    /// CPU taken, this round's picks included.
    cpu: MilliCpu,
    /// The same of memory.
    memory: Bytes,
    /// Tasks that hold it, of all services.
    pub(crate) tasks: u32,
}

impl NodeInfo<'_> {
    /// How full it is: CPU and memory in thousandths of what it offers, added.
    pub(crate) fn fullness(&self) -> u64 {
        let part = |used: u64, of: u64| used.saturating_mul(1000).checked_div(of).unwrap_or(0);
        part(self.cpu.0, self.offered_cpu.0)
            .saturating_add(part(self.memory.0, self.offered_memory.0))
    }
}

/// Room on a node that is kept for one task.
#[derive(Debug, Clone)]
struct Hold {
    by: TaskId,
    service: ServiceId,
    needs: Resources,
    /// Tasks that end for it; none when what ends anyway is enough.
    ending: usize,
}

/// What is kept on one node.
#[derive(Debug, Clone, Default)]
struct Kept {
    holds: Vec<Hold>,
    /// What all of them need.
    needs: Resources,
    /// What comes free of itself.
    comes: Resources,
}

/// Whether each node meets one constraint, as far as somebody asked.
#[derive(Debug)]
struct Verdicts<'a> {
    rule: &'a Constraint,
    known: Vec<Option<bool>>,
}

/// The value of one attribute on each node, by number, as far as somebody asked.
#[derive(Debug)]
struct Values<'a> {
    attribute: &'a NodeAttribute,
    known: Vec<Option<u32>>,
    numbers: BTreeMap<Option<Cow<'a, str>>, u32>,
}

/// All nodes, by id.
#[derive(Debug)]
pub(crate) struct NodeSet<'a> {
    /// The ids apart, close together for the search.
    ids: Vec<NodeId>,
    infos: Vec<NodeInfo<'a>>,
    /// Generic resources that this round's picks took.
    generic: BTreeMap<usize, Resources>,
    kept: BTreeMap<usize, Kept>,
    /// Where room is kept for whom.
    held: BTreeMap<TaskId, usize>,
    /// Every pick of the round.
    picks: Vec<usize>,
    verdicts: Vec<Verdicts<'a>>,
    values: Vec<Values<'a>>,
}

impl<'a> NodeSet<'a> {
    /// All nodes of `view` with what its tasks take. For those that are `gone` nothing is kept.
    pub(crate) fn new(view: &'a View, gone: &BTreeSet<TaskId>) -> Self {
        let mut usages = view.usage.iter().peekable();
        let info = |(id, node): (&NodeId, &'a std::sync::Arc<Node>)| {
            // Both are in the order of ids.
            while usages.next_if(|(other, _)| *other < id).is_some() {}
            let usage = usages.next_if(|(other, _)| *other == id).map(|(_, usage)| usage);
            NodeInfo {
                node,
                usage,
                open: node.takes_tasks(),
                offered_cpu: node.description.resources.cpu,
                offered_memory: node.description.resources.memory,
                cpu: usage.map_or(MilliCpu(0), |usage| usage.reserved.cpu),
                memory: usage.map_or(Bytes(0), |usage| usage.reserved.memory),
                tasks: usage.map_or(0, |usage| usage.tasks),
            }
        };
        let mut nodes = Self {
            ids: view.nodes.keys().copied().collect(),
            infos: view.nodes.iter().map(info).collect(),
            generic: BTreeMap::new(),
            kept: BTreeMap::new(),
            held: BTreeMap::new(),
            picks: Vec::new(),
            verdicts: Vec::new(),
            values: Vec::new(),
        };
        nodes.find_holds(view, gone);
        nodes
    }

    /// Keeps the room that is being made for tasks that still wait, on nodes that take them: what ends
    /// on one that fell silent or was closed meanwhile is of no use to anybody.
    fn find_holds(&mut self, view: &View, gone: &BTreeSet<TaskId>) {
        let mut pairs = view.making_room.iter().peekable();
        while let Some((by, first)) = pairs.next() {
            let mut on: BTreeMap<usize, usize> = BTreeMap::new();
            let mut note = |victim: &TaskId| {
                let task = view.tasks.get(victim)?;
                let at = self.position(task.node?).filter(|at| self.infos[*at].open)?;
                *on.entry(at).or_default() += 1;
                Some(())
            };
            note(first);
            while let Some((_, next)) = pairs.next_if(|(other, _)| other == by) {
                note(next);
            }
            let waits = view.waiting.contains(by) && !gone.contains(by);
            let Some(waiting) = view.tasks.get(by).filter(|_| waits) else { continue };
            // Several, when the first node came back after room was made on a second one.
            if let Some((at, ending)) = on.into_iter().min_by_key(|(_, ending)| *ending) {
                let comes = match self.kept.get(&at) {
                    Some(kept) => kept.comes.clone(),
                    None => coming::total(view, self.infos[at].node.id, &|_| Fate::Open),
                };
                self.hold(at, waiting, &waiting.template.resources.reservations, ending, comes);
            }
        }
    }

    /// Keeps room of `needs` for `task` on the node at `at`, where `ending` tasks end for it and
    /// `comes` comes free in all.
    pub(crate) fn hold(
        &mut self,
        at: usize,
        task: &Task,
        needs: &Resources,
        ending: usize,
        comes: Resources,
    ) {
        let needs = needs.clone();
        let kept = self.kept.entry(at).or_default();
        kept.needs.add(&needs);
        kept.comes = comes;
        kept.holds.push(Hold { by: task.id, service: task.service, needs, ending });
        self.held.insert(task.id, at);
    }

    /// Where room is kept for `task`, and how many tasks end for it.
    pub(crate) fn held_for(&self, task: TaskId) -> Option<(usize, usize)> {
        let at = *self.held.get(&task)?;
        let hold = self.kept.get(&at)?.holds.iter().find(|hold| hold.by == task)?;
        Some((at, hold.ending))
    }

    /// Tasks of `service` for which room is kept at `at`.
    pub(crate) fn held_by(&self, at: usize, service: ServiceId) -> u32 {
        let holds = self.kept.get(&at).map_or(&[][..], |kept| &kept.holds);
        let count = holds.iter().filter(|hold| hold.service == service).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Gives back what is kept for `task`, for itself or because it went elsewhere.
    pub(crate) fn release(&mut self, task: TaskId) {
        let Some(at) = self.held.remove(&task) else { return };
        let Some(kept) = self.kept.get_mut(&at) else { return };
        for hold in kept.holds.extract_if(.., |hold| hold.by == task) {
            kept.needs.subtract(&hold.needs);
        }
        if kept.holds.is_empty() {
            self.kept.remove(&at);
        }
    }

    /// What is short at `at` for one more task that needs `needs`, once `comes` has come free and all
    /// others have what is kept for them; nothing when it will fit.
    pub(crate) fn lacks(&self, at: usize, needs: &Resources, comes: &Resources) -> Resources {
        let mut short = self.used(at, needs).plus(needs);
        if let Some(kept) = self.kept.get(&at) {
            short.add(&kept.needs);
        }
        short.generic.retain(|kind, _| needs.generic.contains_key(kind));
        let mut short = short.minus(comes).minus(&self.infos[at].node.description.resources);
        if needs.cpu.0 == 0 {
            short.cpu.0 = 0;
        }
        if needs.memory.0 == 0 {
            short.memory.0 = 0;
        }
        short
    }

    /// What can still be reserved at `at`; of generic resources only those in `needs`.
    pub(crate) fn free(&self, at: usize, needs: &Resources) -> Resources {
        self.left(at, needs, None, None)
    }

    /// The same with the room that is kept for `task`.
    pub(crate) fn free_for(&self, at: usize, needs: &Resources, task: TaskId) -> Resources {
        self.left(at, needs, None, Some(task))
    }

    /// What could be reserved if `gone`, which holds the node at `at`, were gone.
    pub(crate) fn free_without(&self, at: usize, needs: &Resources, gone: &Task) -> Resources {
        self.left(at, needs, Some(gone), None)
    }

    fn left(
        &self,
        at: usize,
        needs: &Resources,
        gone: Option<&Task>,
        by: Option<TaskId>,
    ) -> Resources {
        let info = &self.infos[at];
        let mut used = self.used(at, needs);
        if let Some(task) = gone {
            used.subtract(&task.template.resources.reservations);
        }
        // Taken now, or taken once what ends has ended and all have what is kept for them.
        let later = self.kept.get(&at).map(|kept| {
            let own = kept.holds.iter().find(|hold| Some(hold.by) == by);
            let mut later = used.clone().plus(&kept.needs);
            if let Some(hold) = own {
                later.subtract(&hold.needs);
            }
            later.minus(&kept.comes)
        });
        let later = later.unwrap_or_default();
        let mut free = Resources::new(
            MilliCpu(info.offered_cpu.0.saturating_sub(used.cpu.max(later.cpu).0)),
            Bytes(info.offered_memory.0.saturating_sub(used.memory.max(later.memory).0)),
        );
        for kind in needs.generic.keys() {
            let offered = info.node.description.resources.generic(kind);
            let used = used.generic(kind).max(later.generic(kind));
            free.generic.insert(kind.clone(), offered.saturating_sub(used));
        }
        free
    }

    /// What is taken at `at`; of generic resources only those in `needs`.
    fn used(&self, at: usize, needs: &Resources) -> Resources {
        let info = &self.infos[at];
        let mut used = Resources::new(info.cpu, info.memory);
        for kind in needs.generic.keys() {
            let taken = info.usage.map_or(0, |usage| usage.reserved.generic(kind));
            let picked = self.generic.get(&at).map_or(0, |picked| picked.generic(kind));
            used.generic.insert(kind.clone(), taken.saturating_add(picked));
        }
        used
    }

    /// Takes `reservation` of the node at `at`.
    pub(crate) fn take(&mut self, at: usize, reservation: &Resources) {
        let info = &mut self.infos[at];
        info.cpu.0 = info.cpu.0.saturating_add(reservation.cpu.0);
        info.memory.0 = info.memory.0.saturating_add(reservation.memory.0);
        info.tasks += 1;
        self.picks.push(at);
        if !reservation.generic.is_empty() {
            self.generic.entry(at).or_default().add(reservation);
        }
    }

    /// The nodes that were picked in this round, one entry a pick.
    pub(crate) fn picks(&self) -> &[usize] {
        &self.picks
    }

    /// The number of `rule` for [`NodeSet::allows`].
    pub(crate) fn rule(&mut self, rule: &'a Constraint) -> usize {
        if let Some(at) = self.verdicts.iter().position(|known| known.rule == rule) {
            return at;
        }
        self.verdicts.push(Verdicts { rule, known: vec![None; self.ids.len()] });
        self.verdicts.len() - 1
    }

    /// Whether the node at `at` meets a rule. Asked once a round, however many services have it.
    pub(crate) fn allows(&mut self, rule: usize, at: usize) -> bool {
        let Verdicts { rule, known } = &mut self.verdicts[rule];
        let node = self.infos[at].node;
        *known[at].get_or_insert_with(|| rule.allows(node))
    }

    /// The number of `attribute` for [`NodeSet::value`].
    pub(crate) fn attribute(&mut self, attribute: &'a NodeAttribute) -> usize {
        if let Some(at) = self.values.iter().position(|known| known.attribute == attribute) {
            return at;
        }
        let known = vec![None; self.ids.len()];
        self.values.push(Values { attribute, known, numbers: BTreeMap::new() });
        self.values.len() - 1
    }

    /// A number for the value of an attribute on the node at `at`: the same for the same value.
    pub(crate) fn value(&mut self, attribute: usize, at: usize) -> u32 {
        let Values { attribute, known, numbers } = &mut self.values[attribute];
        let node = self.infos[at].node;
        *known[at].get_or_insert_with(|| {
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            *numbers.entry(attribute.of(node)).or_insert(next)
        })
    }

    /// The value itself; `None` when it is not set.
    pub(crate) fn text(&self, attribute: usize, at: usize) -> Option<Cow<'a, str>> {
        self.values[attribute].attribute.of(self.infos[at].node)
    }

    /// Where `node` is in the order of ids.
    pub(crate) fn position(&self, node: NodeId) -> Option<usize> {
        self.ids.binary_search(&node).ok()
    }

    /// The node at `at`, which is a position of this set.
    pub(crate) fn at(&self, at: usize) -> &NodeInfo<'a> {
        &self.infos[at]
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.infos.len()
    }
}
