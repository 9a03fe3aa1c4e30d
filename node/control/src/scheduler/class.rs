//! The class of all tasks of one service: each node filtered and scored once, then picks.
//!
//! Lives for one round.

use std::rc::Rc;
use std::time::Duration;

use swarm_model::id::NodeId;
use swarm_model::placement::AffinityTarget;
use swarm_model::service::Service;
use swarm_model::task::Task;
use swarm_model::task_state::ObservedState;

use super::explain;
use super::filter::{self, Candidate};
use super::node_info::NodeSet;
use super::taste::{self, Taste};
use super::tree::{Entry, Rank, Tree};
use crate::enforcer::{Stance, stance};
use crate::facts::{Facts, is_current};

/// A node where so many tasks of a service failed within [`FAILURES_WITHIN`] is its last choice.
/// (The figures are swarmkit's.)
const FAILURES_MAX: u32 = 5;
/// Older failures are forgiven.
const FAILURES_WITHIN: Duration = Duration::from_secs(300);
/// In a cluster of more nodes a few tasks are placed among some of them.
const SAMPLE_FROM: usize = 1000;
/// As many nodes that fit, then. (Kubernetes looks at 100 at least.)
const SAMPLE: usize = 128;
/// More tasks of a service in one round are worth a look at all nodes.
const FEW: usize = 16;

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
    facts: Facts<'a>,
    pub(super) service: &'a Service,
    pub(super) shares: Vec<Share>,
    pub(super) taste: Taste,
    /// Its constraints, by number.
    rules: Vec<usize>,
    /// Tasks that may be placed in this round.
    demand: usize,
    /// Built for the first task that may go anywhere.
    tree: Option<Tree>,
    /// Whether the tree has some of the nodes that fit, and not all.
    sampled: bool,
    /// Picks of the whole round when the last one was made here.
    seen: usize,
    /// Why nothing fits; known once that is so, and it stays so until room is given back.
    refusal: Option<Rc<str>>,
    /// The same at the end of the round.
    last_refusal: Option<Rc<str>>,
    /// Nothing can be ended for it, on any node.
    pub(super) yields_nowhere: bool,
}

impl<'a> Class<'a> {
    /// The class of `service`, of which up to `demand` tasks are to be placed.
    pub(super) fn new(
        facts: Facts<'a>,
        nodes: &mut NodeSet<'a>,
        service: &'a Service,
        demand: usize,
    ) -> Self {
        let shares = shares(facts, nodes, service);
        let mut meets =
            |nodes: &NodeSet<'a>, target: &AffinityTarget| taste::meets(facts, nodes, target);
        let taste = Taste::of(nodes, service, &mut meets);
        let constraints = &service.template.placement.constraints;
        Self {
            facts,
            service,
            shares,
            taste,
            rules: constraints.iter().map(|rule| nodes.rule(rule)).collect(),
            demand,
            tree: None,
            sampled: false,
            seen: 0,
            refusal: None,
            last_refusal: None,
            yields_nowhere: false,
        }
    }

    /// Takes the best place.
    pub(super) fn place_anywhere(
        &mut self,
        nodes: &mut NodeSet<'a>,
        avoid: Option<NodeId>,
    ) -> Result<NodeId, Rc<str>> {
        if let Some(reason) = &self.refusal {
            return Err(Rc::clone(reason));
        }
        if self.taste.packs && self.seen != nodes.picks().len() {
            // Others made nodes fuller, which is to say better.
            self.tree = None;
        }
        if self.tree.is_none() {
            self.grow(nodes, SAMPLE);
        }
        let avoid = avoid.and_then(|node| nodes.position(node));
        let mut picked = self.pick(nodes, avoid);
        if self.sampled && !picked.is_some_and(|at| self.is_as_good_as_any(at)) {
            self.grow(nodes, usize::MAX);
            picked = self.pick(nodes, avoid);
        }
        match picked.or_else(|| avoid.and_then(|_| self.pick(nodes, None))) {
            Some(at) => Ok(self.take(nodes, at)),
            None => {
                let reason = self.reason(nodes);
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
        match filter::check(&self.candidate(nodes, at)) {
            Ok(()) => Ok(self.take(nodes, at)),
            Err(refusal) => Err(explain::node_does_not_fit(&refusal).into()),
        }
    }

    /// Why nothing fits, or the `only` node does not, once all placements of a round are made.
    pub(super) fn refusal(&mut self, nodes: &NodeSet<'_>, only: Option<NodeId>) -> Rc<str> {
        if let Some(at) = only.and_then(|node| nodes.position(node)) {
            let refused = filter::check(&self.candidate(nodes, at)).err();
            return refused.as_ref().map(explain::node_does_not_fit).unwrap_or_default().into();
        }
        if let Some(reason) = &self.last_refusal {
            return Rc::clone(reason);
        }
        let reason = self.reason(nodes);
        self.last_refusal = Some(Rc::clone(&reason));
        reason
    }

    /// Whether a task of the class would fit where `old` is, were `old` gone.
    pub(super) fn fits_in_place(&self, nodes: &NodeSet<'_>, old: &Task) -> bool {
        let Some(at) = old.node.and_then(|node| nodes.position(node)) else { return false };
        let mut place = self.candidate(nodes, at);
        place.free = nodes.free_without(at, place.needs(), old);
        place.held = place.held.saturating_sub(1);
        filter::check(&place).is_ok()
    }

    /// The node at `at` as a place for one more task.
    pub(super) fn candidate<'n>(&self, nodes: &NodeSet<'n>, at: usize) -> Candidate<'n>
    where
        'a: 'n,
    {
        candidate(nodes, self.service, &self.shares, at)
    }

    /// Whether the node at `at` will do, whatever room it has.
    pub(super) fn may_use(&self, nodes: &mut NodeSet<'a>, at: usize) -> bool {
        nodes.at(at).open && self.rules.iter().all(|rule| nodes.allows(*rule, at))
    }

    fn pick(&mut self, nodes: &NodeSet<'_>, avoid: Option<usize>) -> Option<usize> {
        let (service, shares, packs) = (self.service, &self.shares, self.taste.packs);
        let look = |at: usize| {
            let fits = filter::check_again(&candidate(nodes, service, shares, at)).is_ok();
            fits.then(|| rank(nodes, shares, at, packs))
        };
        self.tree.as_mut()?.pick(avoid, &look)
    }

    /// Whether no node of the whole cluster would be better but for what else runs there.
    fn is_as_good_as_any(&self, at: usize) -> bool {
        self.shares[at].staying == 0 && !self.shares[at].is_shunned()
    }

    /// Looks at the nodes, until `enough` of them fit if that will do, and puts them into the tree.
    fn grow(&mut self, nodes: &mut NodeSet<'a>, enough: usize) {
        let count = nodes.len();
        let few = count > SAMPLE_FROM && self.demand <= FEW && self.taste.is_plain();
        let enough = if few { enough } else { usize::MAX };
        let start = if few { self.start(count) } else { 0 };
        let mut entries = Vec::new();
        let mut fitting = 0;
        self.sampled = false;
        for at in (start..count).chain(0..start) {
            if fitting == enough {
                self.sampled = true;
                break;
            }
            let place = self.candidate(nodes, at);
            // Room is a comparison of numbers, constraints are of texts.
            let fits = filter::check_again(&place).is_ok() && self.may_use(nodes, at);
            let service_tasks = self.shares[at].staying;
            if fits || service_tasks > 0 {
                fitting += usize::from(fits);
                let rank = rank(nodes, &self.shares, at, self.taste.packs);
                entries.push(Entry { rank, service_tasks, tasks: nodes.at(at).tasks, fits });
            }
        }
        self.tree = Some(Tree::new(nodes, entries, &self.taste.levels));
        self.seen = nodes.picks().len();
    }

    /// Where a sample begins: elsewhere for each service and revision. Ids are random, so nodes that
    /// follow each other are a random sample.
    fn start(&self, count: usize) -> usize {
        let seed = self.service.id.raw() ^ u128::from(self.facts.view.revision.0);
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) >> 64;
        let count = u128::try_from(count).unwrap_or(u128::MAX).max(1);
        usize::try_from(mixed % count).unwrap_or(0)
    }

    /// Takes the place at `at`.
    pub(super) fn take(&mut self, nodes: &mut NodeSet<'_>, at: usize) -> NodeId {
        nodes.take(at, &self.service.template.resources.reservations);
        self.shares[at].held += 1;
        self.shares[at].staying += 1;
        self.seen += 1;
        nodes.at(at).node.id
    }

    /// Notes what another template of the service took before.
    pub(super) fn catch_up(&mut self, other: &Self) {
        for (own, other) in self.shares.iter_mut().zip(&other.shares) {
            // What holds a node does so whatever it was made from.
            own.staying += other.held - own.held;
            own.held = other.held;
        }
    }

    /// Notes that another template of the service took the place at `at`.
    pub(super) fn note_taken(&mut self, at: usize) {
        self.shares[at].held += 1;
        self.shares[at].staying += 1;
        self.tree = None;
    }

    /// Takes the place at `at`, which was kept for a task, past the tree.
    pub(super) fn take_held(&mut self, nodes: &mut NodeSet<'_>, at: usize) -> NodeId {
        self.tree = None;
        self.take(nodes, at)
    }

    /// Forgets what was found out about nodes: one of them has more room than before.
    pub(super) fn look_anew(&mut self) {
        self.tree = None;
        self.refusal = None;
        self.yields_nowhere = false;
    }

    /// Why no node will do.
    fn reason(&self, nodes: &NodeSet<'_>) -> Rc<str> {
        let refused = (0..nodes.len()).filter_map(|at| {
            filter::check(&candidate(nodes, self.service, &self.shares, at)).err()
        });
        explain::no_suitable_node(refused, nodes.len()).into()
    }
}

/// The node at `at` as a place for a task of `service`.
pub(super) fn candidate<'a>(
    nodes: &NodeSet<'a>,
    service: &'a Service,
    shares: &[Share],
    at: usize,
) -> Candidate<'a> {
    let template = &*service.template;
    Candidate {
        node: nodes.at(at).node,
        open: nodes.at(at).open,
        free: nodes.free(at, &template.resources.reservations),
        held: shares[at].held,
        template,
    }
}

/// How the node at `at` ranks.
pub(super) fn rank(nodes: &NodeSet<'_>, shares: &[Share], at: usize, packs: bool) -> Rank {
    let (info, share) = (nodes.at(at), &shares[at]);
    let (first, second) = if packs {
        (u64::MAX - info.fullness(), u64::MAX - u64::from(info.tasks))
    } else {
        (u64::from(share.staying), u64::from(info.tasks))
    };
    Rank { shunned: share.is_shunned(), first, second, at }
}
