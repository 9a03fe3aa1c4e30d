//! What gossip believes about the other nodes, as the rest of the program sees it.
//!
//! A hint, never the truth: the replicated state decides who belongs to the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use swarm_model::id::{Incarnation, NodeId};
use tokio::time::Instant;

/// Removed nodes remembered, so that late gossip does not bring them back.
const MAX_FORGOTTEN: usize = 4096;

/// Whether a node seems to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Liveness {
    /// It answers.
    Alive,
    /// It did not answer lately, or has not been heard of yet; it has a second or two to object.
    Suspect,
    /// It is gone, or cut off.
    Down,
}

/// What is believed about one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberInfo {
    /// Where it says it can be reached.
    pub addr: SocketAddr,
    /// Its process; zero while it has never been heard of.
    pub incarnation: Incarnation,
    /// Whether it seems to run.
    pub liveness: Liveness,
    /// Since when `liveness` has been so, on this node's clock.
    pub since: Instant,
}

/// All other nodes, by id.
pub type MemberView = Arc<BTreeMap<NodeId, MemberInfo>>;

/// The view and what it takes to keep it.
#[derive(Debug, Default)]
pub(crate) struct Members {
    view: BTreeMap<NodeId, MemberInfo>,
    forgotten: BTreeSet<NodeId>,
    changed: bool,
    moved: Vec<(NodeId, SocketAddr)>,
}

impl Members {
    /// A node that should be there, but has not been heard of.
    pub(crate) fn expect(&mut self, node: NodeId, addr: SocketAddr, now: Instant) -> bool {
        if self.view.contains_key(&node) || self.forgotten.contains(&node) {
            return false;
        }
        let incarnation = Incarnation::default();
        let info = MemberInfo { addr, incarnation, liveness: Liveness::Suspect, since: now };
        self.view.insert(node, info);
        self.changed = true;
        true
    }

    /// A node that was expected has not been heard of in time.
    pub(crate) fn give_up(&mut self, node: NodeId, now: Instant) {
        if let Some(info) = self.view.get_mut(&node)
            && info.liveness == Liveness::Suspect
            && info.incarnation == Incarnation::default()
        {
            info.liveness = Liveness::Down;
            info.since = now;
            self.changed = true;
        }
    }

    /// What the protocol says about a node now.
    pub(crate) fn note(
        &mut self,
        node: NodeId,
        addr: SocketAddr,
        incarnation: Incarnation,
        liveness: Liveness,
        now: Instant,
    ) {
        if self.forgotten.contains(&node) {
            return;
        }
        let before = self.view.get(&node).copied();
        let since = before.filter(|info| info.liveness == liveness).map_or(now, |info| info.since);
        let info = MemberInfo { addr, incarnation, liveness, since };
        if before == Some(info) {
            return;
        }
        if before.is_none_or(|before| before.addr != addr) {
            self.moved.push((node, addr));
        }
        self.view.insert(node, info);
        self.changed = true;
    }

    pub(crate) fn forget(&mut self, node: NodeId) {
        self.changed |= self.view.remove(&node).is_some();
        self.forgotten.insert(node);
        while self.forgotten.len() > MAX_FORGOTTEN {
            self.forgotten.pop_first();
        }
    }

    pub(crate) fn is_forgotten(&self, node: NodeId) -> bool {
        self.forgotten.contains(&node)
    }

    /// The view, if it changed since this was last asked.
    pub(crate) fn take_changed(&mut self) -> Option<MemberView> {
        std::mem::take(&mut self.changed).then(|| Arc::new(self.view.clone()))
    }

    /// The addresses learnt since this was last asked.
    pub(crate) fn take_moved(&mut self) -> Vec<(NodeId, SocketAddr)> {
        std::mem::take(&mut self.moved)
    }
}
