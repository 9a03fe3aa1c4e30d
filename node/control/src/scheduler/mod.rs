//! The scheduler: filter, score, pick, over classes of tasks that are alike.
//!
//! All tasks of a service are alike, so each node is filtered and scored once a service; a pick
//! then costs a heap operation. What was picked counts at once for all later picks of the round.
//! Nodes are looked at when the first task needs one.

mod balance;
mod class;
mod coming;
pub(crate) mod explain;
mod filter;
mod node_info;
mod preempt;
mod taste;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use swarm_model::id::{NodeId, ServiceId, TaskId};
use swarm_model::meta::Version;
use swarm_model::service::Service;
use swarm_model::task::Task;
use swarm_model::units::Timestamp;

use crate::facts::Facts;
pub(crate) use balance::{Balance, Gain, Pair};
use class::Class;
pub(crate) use coming::Fate;
use node_info::NodeSet;
use preempt::Preemption;
pub(crate) use preempt::Room;

/// Where a task would rather be, beyond what its service says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wish {
    /// Nowhere but there.
    pub(crate) only: Option<NodeId>,
    /// Anywhere else, if anywhere else will do.
    pub(crate) avoid: Option<NodeId>,
}

type ClassKey = (ServiceId, Version);

fn key(service: &Service) -> ClassKey {
    (service.id, service.template_version)
}

/// The first and the last key that there can be for `service`.
fn templates_of(service: &Service) -> (ClassKey, ClassKey) {
    ((service.id, Version(0)), (service.id, Version(u64::MAX)))
}

/// Places tasks for one round.
#[derive(Debug)]
pub(crate) struct Scheduler<'a> {
    facts: Facts<'a>,
    nodes: Option<NodeSet<'a>>,
    /// By service and version of its template: a service in an update has two.
    classes: BTreeMap<ClassKey, Class<'a>>,
    /// How many tasks of each service the round is about.
    demand: BTreeMap<ServiceId, usize>,
    /// Tasks that wait and that the plan forgets.
    gone: BTreeSet<TaskId>,
    preemption: Preemption,
}

impl<'a> Scheduler<'a> {
    /// A scheduler for the nodes of the view, when the plan forgets those that are `gone`.
    pub(crate) fn new(
        facts: Facts<'a>,
        demand: BTreeMap<ServiceId, usize>,
        gone: BTreeSet<TaskId>,
    ) -> Self {
        let preemption = Preemption::new(demand.len());
        Self { facts, nodes: None, classes: BTreeMap::new(), demand, gone, preemption }
    }

    /// What the round decides on.
    pub(crate) fn facts(&self) -> Facts<'a> {
        self.facts
    }

    /// The time of the round.
    pub(crate) fn now(&self) -> Timestamp {
        self.facts.now
    }

    /// Takes a place for one task of `service`.
    ///
    /// # Errors
    /// Why no node fits.
    pub(crate) fn place(&mut self, service: &'a Service, wish: &Wish) -> Result<NodeId, Rc<str>> {
        let (nodes, class) = self.class(service);
        let placed = match wish.only {
            Some(node) => class.place_on(nodes, node),
            None => class.place_anywhere(nodes, wish.avoid),
        }?;
        self.tell_of(service, placed);
        Ok(placed)
    }

    /// What one template of a service took counts for its other one.
    fn tell_of(&mut self, service: &Service, taken: NodeId) {
        let Some(at) = self.nodes.as_ref().and_then(|nodes| nodes.position(taken)) else { return };
        let (first, last) = templates_of(service);
        for (other, class) in self.classes.range_mut(first..=last) {
            if *other != key(service) {
                class.note_taken(at);
            }
        }
    }

    /// Takes a place for `task`, which waits: first where room was made for it.
    ///
    /// # Errors
    /// Why no node fits.
    pub(crate) fn place_waiting(
        &mut self,
        task: &Task,
        service: &'a Service,
        wish: &Wish,
    ) -> Result<NodeId, Rc<str>> {
        let (nodes, class) = self.class(service);
        if let Some((at, _)) = nodes.held_for(task.id) {
            let fits = preempt::fits_by_itself(nodes, class, task, at);
            if fits && wish.only.is_none_or(|node| node == nodes.at(at).node.id) {
                nodes.release(task.id);
                let placed = class.take_held(nodes, at);
                self.tell_of(service, placed);
                return Ok(placed);
            }
        }
        let placed = self.place(service, wish)?;
        if let Some(nodes) = &mut self.nodes
            && nodes.held_for(task.id).is_some()
        {
            nodes.release(task.id);
            self.classes.values_mut().for_each(Class::look_anew);
        }
        Ok(placed)
    }

    /// Finds tasks of lower priority whose end would make room for `task`, which waits and found no
    /// place. `fate` is what the plan does to others.
    pub(crate) fn make_room(
        &mut self,
        task: &Task,
        service: &'a Service,
        wish: &Wish,
        fate: &dyn Fn(&Task) -> Fate,
    ) -> Room<'a> {
        let facts = self.facts;
        let nodes = self.nodes.get_or_insert_with(|| NodeSet::new(facts.view, &self.gone));
        let Some(class) = self.classes.get_mut(&key(service)) else { return Room::None };
        self.preemption.make_room(facts, nodes, class, task, wish.only, fate)
    }

    /// Keeps what ends for `before`, which the plan forgets, for the task of `service` that follows it
    /// and found no place, unless somebody had it first.
    pub(crate) fn pass_on(
        &mut self,
        before: &Task,
        service: &'a Service,
        fate: &dyn Fn(&Task) -> Fate,
    ) {
        let Some(nodes) = &mut self.nodes else { return };
        let Some(class) = self.classes.get(&key(service)) else { return };
        preempt::pass_on(self.facts, nodes, class, before, fate);
    }

    /// Why `task`, which found no place, waits, all placements of the round considered.
    pub(crate) fn refusal(&mut self, task: &Task, service: &Service, wish: &Wish) -> Rc<str> {
        let Some(nodes) = &self.nodes else { return "".into() };
        if let Some((at, ending)) = nodes.held_for(task.id) {
            return explain::room_is_made(&nodes.at(at).node.description.hostname, ending).into();
        }
        let class = self.classes.get_mut(&key(service));
        class.map_or_else(|| "".into(), |class| class.refusal(nodes, wish.only))
    }

    /// Whether a task of `service` would fit where `old` is, were `old` gone.
    pub(crate) fn fits_in_place(&self, service: &Service, old: &Task) -> bool {
        let class = self.classes.get(&key(service));
        class.zip(self.nodes.as_ref()).is_some_and(|(class, nodes)| class.fits_in_place(nodes, old))
    }

    fn class(&mut self, service: &'a Service) -> (&mut NodeSet<'a>, &mut Class<'a>) {
        let facts = self.facts;
        let nodes = self.nodes.get_or_insert_with(|| NodeSet::new(facts.view, &self.gone));
        let demand = self.demand.get(&service.id).copied().unwrap_or(1);
        if !self.classes.contains_key(&key(service)) {
            let mut class = Class::new(facts, nodes, service, demand);
            let (first, last) = templates_of(service);
            let other = self.classes.range(first..=last).next();
            other.into_iter().for_each(|(_, other)| class.catch_up(other));
            self.classes.insert(key(service), class);
        }
        let class = self.classes.get_mut(&key(service)).expect("it was put there above");
        (nodes, class)
    }
}
