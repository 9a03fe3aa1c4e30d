//! The scheduler: filter, score, pick, over classes of tasks that are alike.
//!
//! All tasks of a service are alike, so each node is filtered and scored once a service; a pick
//! then costs a heap operation. What was picked counts at once for all later picks of the round.

mod class;
pub(crate) mod explain;
mod filter;
pub(crate) mod node_info;
mod spread;

use std::collections::BTreeMap;
use std::rc::Rc;

use swarm_model::id::{NodeId, ServiceId};
use swarm_model::service::Service;
use swarm_model::task::Task;
use swarm_model::units::Timestamp;

use crate::facts::Facts;
use class::Class;
use node_info::NodeSet;

/// Where a task would rather be, beyond what its service says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wish {
    /// Nowhere but there.
    pub(crate) only: Option<NodeId>,
    /// Anywhere else, if anywhere else will do.
    pub(crate) avoid: Option<NodeId>,
}

/// Places tasks for one round.
#[derive(Debug)]
pub(crate) struct Scheduler<'a> {
    facts: Facts<'a>,
    nodes: NodeSet<'a>,
    classes: BTreeMap<ServiceId, Class<'a>>,
}

impl<'a> Scheduler<'a> {
    /// A scheduler over `nodes`.
    pub(crate) fn new(facts: Facts<'a>, nodes: NodeSet<'a>) -> Self {
        Self { facts, nodes, classes: BTreeMap::new() }
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
        let (facts, nodes) = (self.facts, &mut self.nodes);
        let class =
            self.classes.entry(service.id).or_insert_with(|| Class::new(facts, nodes, service));
        match wish.only {
            Some(node) => class.place_on(nodes, node),
            None => class.place_anywhere(nodes, wish.avoid),
        }
    }

    /// Why a task that found no place waits, all placements of the round considered.
    pub(crate) fn refusal(&mut self, service: &Service, wish: &Wish) -> Rc<str> {
        let (nodes, class) = (&self.nodes, self.classes.get_mut(&service.id));
        class.map_or_else(|| "".into(), |class| class.refusal(nodes, wish.only))
    }

    /// Whether a task of `service` would fit where `old` is, were `old` gone.
    pub(crate) fn fits_in_place(&self, service: &Service, old: &Task) -> bool {
        let class = self.classes.get(&service.id);
        class.is_some_and(|class| class.fits_in_place(&self.nodes, old))
    }
}
