//! The class of all tasks of one service: each node filtered and scored once, then picks.
//!
//! Lives for one round.

use std::rc::Rc;
use std::time::Duration;

use swarm_model::id::NodeId;
use swarm_model::service::Service;
use swarm_model::task::Task;
use swarm_model::task_state::ObservedState;

use super::explain;
use super::filter::{self, Candidate, Refusal};
use super::node_info::NodeSet;
use super::spread::{Entry, Now, Rank, Tree};
use crate::enforcer::{Stance, stance};
use crate::facts::{Facts, is_current};

/// A node where so many tasks of a service failed within [`FAILURES_WITHIN`] is its last choice.
/// (The figures are swarmkit's.)
const FAILURES_MAX: u32 = 5;
/// Older failures are forgiven.
const FAILURES_WITHIN: Duration = Duration::from_secs(300);

/// What one service has on one node.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Share {
    /// Tasks that hold the node, those that end included: bound by `max_replicas_per_node`.
    pub(super) held: u32,
    /// Tasks that are to stay: what spreading counts. Tasks about to be replaced do not count, or
    /// an update would end up uneven.
    pub(super) staying: u32,
    /// Recent failures.
    pub(super) failures: u32,
}

impl Share {
    /// Whether the node is the last choice.
    pub(super) fn is_shunned(&self) -> bool {
        self.failures >= FAILURES_MAX
    }
}

/// Counts what `service` has on each of `nodes`.
pub(super) fn shares(facts: Facts<'_>, nodes: &NodeSet<'_>, service: &Service) -> Vec<Share> {
    let mut shares = vec![Share::default(); nodes.len()];
    for task in facts.view.tasks_of(service.id) {
        let Some(at) = task.node.and_then(|node| nodes.position(node)) else { continue };
        let share = &mut shares[at];
        match task.status.state {
            ObservedState::Failed | ObservedState::Rejected => {
                let ended_at = task.status.since.min(task.meta.updated_at);
                let recent = facts.now.since(ended_at) <= FAILURES_WITHIN;
                share.failures += u32::from(recent && is_current(task, service));
            }
            ObservedState::Complete | ObservedState::Shutdown | ObservedState::Orphaned => {}
            ObservedState::New
            | ObservedState::Pending
            | ObservedState::Assigned
            | ObservedState::Accepted
            | ObservedState::Preparing
            | ObservedState::Ready
            | ObservedState::Starting
            | ObservedState::Running => {
                share.held += 1;
                let stays = task.is_active()
                    && matches!(stance(facts, service, task), Stance::Good | Stance::Held);
                share.staying += u32::from(stays);
            }
        }
    }
    shares
}

/// All tasks of one service.
#[derive(Debug)]
pub(super) struct Class<'a> {
    service: &'a Service,
    shares: Vec<Share>,
    /// Built for the first task that may go anywhere.
    tree: Option<Tree>,
    /// Why nothing fits; known once that is so, and it stays so for the round.
    refusal: Option<Rc<str>>,
    /// The same at the end of the round.
    last_refusal: Option<Rc<str>>,
}

impl<'a> Class<'a> {
    /// The class of `service`.
    pub(super) fn new(facts: Facts<'_>, nodes: &NodeSet<'_>, service: &'a Service) -> Self {
        let shares = shares(facts, nodes, service);
        Self { service, shares, tree: None, refusal: None, last_refusal: None }
    }

    /// Takes the best place.
    pub(super) fn place_anywhere(
        &mut self,
        nodes: &mut NodeSet<'_>,
        avoid: Option<NodeId>,
    ) -> Result<NodeId, Rc<str>> {
        if let Some(reason) = &self.refusal {
            return Err(Rc::clone(reason));
        }
        let avoid = avoid.and_then(|node| nodes.position(node));
        let (service, shares) = (self.service, &self.shares);
        let tree = self.tree.get_or_insert_with(|| tree(nodes, service, shares));
        let look = |at: usize| match filter::check_again(&candidate(nodes, service, shares, at)) {
            Ok(()) => Now::Tasks(nodes.at(at).tasks),
            Err(_full) => Now::Full,
        };
        let picked = tree.pick(avoid, &look);
        match picked.or_else(|| avoid.and_then(|_| tree.pick(None, &look))) {
            Some(at) => Ok(self.take(nodes, at)),
            None => {
                let reason = reason(nodes, service, shares);
                self.refusal = Some(Rc::clone(&reason));
                Err(reason)
            }
        }
    }

    /// Takes a place on `node` and nowhere else.
    pub(super) fn place_on(
        &mut self,
        nodes: &mut NodeSet<'_>,
        node: NodeId,
    ) -> Result<NodeId, Rc<str>> {
        let Some(at) = nodes.position(node) else {
            return Err("its node is not a member of the cluster any more".into());
        };
        match filter::check(&candidate(nodes, self.service, &self.shares, at)) {
            Ok(()) => Ok(self.take(nodes, at)),
            Err(refusal) => Err(explain::node_does_not_fit(&refusal).into()),
        }
    }

    /// Why nothing fits, or the `only` node does not, once all placements of a round are made.
    pub(super) fn refusal(&mut self, nodes: &NodeSet<'_>, only: Option<NodeId>) -> Rc<str> {
        let (service, shares) = (self.service, &self.shares);
        if let Some(at) = only.and_then(|node| nodes.position(node)) {
            let refused = filter::check(&candidate(nodes, service, shares, at)).err();
            return refused.as_ref().map(explain::node_does_not_fit).unwrap_or_default().into();
        }
        Rc::clone(self.last_refusal.get_or_insert_with(|| reason(nodes, service, shares)))
    }

    /// Whether a task of the class would fit where `old` is, were `old` gone.
    pub(super) fn fits_in_place(&self, nodes: &NodeSet<'_>, old: &Task) -> bool {
        let Some(at) = old.node.and_then(|node| nodes.position(node)) else { return false };
        let mut place = candidate(nodes, self.service, &self.shares, at);
        place.free = nodes.at(at).free_without(old);
        place.held = place.held.saturating_sub(1);
        filter::check(&place).is_ok()
    }

    fn take(&mut self, nodes: &mut NodeSet<'_>, at: usize) -> NodeId {
        nodes.take(at, &self.service.template.resources.reservations);
        self.shares[at].held += 1;
        self.shares[at].staying += 1;
        nodes.at(at).node.id
    }
}

/// The node at `at` as a place for a task of `service`.
pub(super) fn candidate<'a>(
    nodes: &NodeSet<'a>,
    service: &'a Service,
    shares: &[Share],
    at: usize,
) -> Candidate<'a> {
    let info = nodes.at(at);
    Candidate {
        node: info.node,
        free: info.free(),
        held: shares[at].held,
        template: &service.template,
    }
}

/// How the node at `at` ranks.
pub(super) fn rank(nodes: &NodeSet<'_>, shares: &[Share], at: usize) -> Rank {
    Rank {
        shunned: shares[at].is_shunned(),
        service_tasks: shares[at].staying,
        tasks: nodes.at(at).tasks,
        at,
    }
}

fn tree(nodes: &NodeSet<'_>, service: &Service, shares: &[Share]) -> Tree {
    let entry = |at| {
        let place = candidate(nodes, service, shares, at);
        let fits = filter::check(&place).is_ok();
        Entry { node: place.node, rank: rank(nodes, shares, at), fits }
    };
    let entries: Vec<Entry<'_>> = (0..nodes.len()).map(entry).collect();
    Tree::new(&entries, &service.template.placement.preferences)
}

/// Why no node will do.
fn reason(nodes: &NodeSet<'_>, service: &Service, shares: &[Share]) -> Rc<str> {
    let refused: Vec<Refusal<'_>> = (0..nodes.len())
        .filter_map(|at| filter::check(&candidate(nodes, service, shares, at)).err())
        .collect();
    explain::no_suitable_node(&refused).into()
}
