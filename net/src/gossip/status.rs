//! What every node says about itself: one small versioned map a node, copied to all nodes.
//!
//! A node writes only its own map; everybody else holds copies and compares them by [`Head`]s. Newer
//! always wins: by life of the writing process first, by version within it. This module is pure: it says
//! what to send, never when or to whom, and never looks at a clock.
//! Scheme: Scuttlebutt reconciliation (van Renesse et al., 2008) with bounded tombstones.

mod ledger;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use swarm_model::id::{Incarnation, NodeId, TaskId};

pub(crate) use ledger::{Applied, Delta, Ledger};

/// All values of one node together, keys and overhead counted.
pub const MAX_NODE_BYTES: usize = 64 * 1024;
/// Copies held here: one a node.
pub(crate) const MAX_NODES: usize = 4096;
/// All copies together, keys and overhead counted: nobody proves that the nodes they are about exist.
pub(crate) const MAX_ALL_BYTES: usize = 32 << 20;
/// Removed nodes remembered, so that a late copy does not bring them back.
const MAX_FORGOTTEN: usize = 4096;
/// An epoch rises by one a restart; more than this was made up.
const MAX_EPOCH: u64 = 1 << 40;

/// What a published value is about. Append-only: the position is the wire form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum StatusKey {
    /// The node's free and total resources.
    Resources,
    /// One task's observed state.
    Task(TaskId),
    /// Why the node's replica takes no part in the group, as text.
    Quarantine,
    /// The node's disk has no room left; what it tells clients.
    DiskFull,
}

/// One map as readers get it: immutable, cheap to clone.
pub type StatusView = Arc<BTreeMap<StatusKey, Bytes>>;

/// Why a value was not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StatusError {
    /// Nothing changed. Retract something, or publish less.
    #[error("status map full: {wanted} bytes wanted, {MAX_NODE_BYTES} allowed for one node")]
    Full {
        /// What the map would have grown to.
        wanted: usize,
    },
}

/// One life of a writer. A later life always has a higher epoch; the incarnation tells two processes
/// apart that have not heard of each other yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Life {
    pub(crate) epoch: u64,
    pub(crate) incarnation: Incarnation,
}

/// How far one node's map is known: everything written in `life` up to `version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) node: NodeId,
    pub(crate) life: Life,
    pub(crate) version: u64,
}

/// This node's own map and its copies of the others'.
#[derive(Debug)]
pub(crate) struct StatusMap {
    me: NodeId,
    ledgers: BTreeMap<NodeId, Ledger>,
    forgotten: BTreeSet<NodeId>,
    /// Counts changes seen here; readers ask for what changed since.
    revision: u64,
    changed: BTreeMap<NodeId, u64>,
}

impl StatusMap {
    pub(crate) fn new(me: NodeId, incarnation: Incarnation) -> Self {
        let own = Ledger::new(Life { epoch: 0, incarnation });
        Self {
            me,
            ledgers: BTreeMap::from([(me, own)]),
            forgotten: BTreeSet::new(),
            revision: 0,
            changed: BTreeMap::new(),
        }
    }

    fn own(&mut self) -> &mut Ledger {
        self.ledgers.get_mut(&self.me).expect("made in new, never removed")
    }

    fn touch(&mut self, node: NodeId) {
        self.revision += 1;
        self.changed.insert(node, self.revision);
    }

    /// Writes this node's own map; `None` removes. True if that changed anything.
    pub(crate) fn write(
        &mut self,
        key: StatusKey,
        value: Option<Bytes>,
    ) -> Result<bool, StatusError> {
        let wrote = self.own().write(key, value)?;
        if wrote {
            self.touch(self.me);
        }
        Ok(wrote)
    }

    /// Own version: what a peer should know of us.
    pub(crate) fn own_head(&self) -> Head {
        self.head(self.me).expect("made in new, never removed")
    }

    pub(crate) fn head(&self, node: NodeId) -> Option<Head> {
        let ledger = self.ledgers.get(&node)?;
        Some(Head { node, life: ledger.life(), version: ledger.version() })
    }

    /// What is known here, for a peer to compare with.
    pub(crate) fn digest(&self) -> Vec<Head> {
        self.ledgers.keys().filter_map(|node| self.head(*node)).collect()
    }

    /// Looks at what a peer knows; true if it knows more about that node than we do.
    ///
    /// A head about ourselves that we did not write is from an earlier life: ours is lifted above it.
    pub(crate) fn observe(&mut self, head: Head) -> bool {
        if head.life.epoch > MAX_EPOCH || self.forgotten.contains(&head.node) {
            return false;
        }
        if head.node == self.me {
            let own = self.own_head();
            if (head.life, head.version) > (own.life, own.version) {
                self.own().rise_above(head.life);
                self.touch(self.me);
            }
            return false;
        }
        match self.ledgers.get(&head.node) {
            Some(known) => (head.life, head.version) > (known.life(), known.version()),
            None => self.ledgers.len() < MAX_NODES,
        }
    }

    /// What a peer with `digest` lacks: whole nodes until `budget` bytes are used, at least one.
    pub(crate) fn deltas_for(&self, digest: &[Head], budget: usize) -> Vec<Delta> {
        let theirs: BTreeMap<NodeId, &Head> = digest.iter().map(|head| (head.node, head)).collect();
        let mut used = 0;
        let mut deltas = Vec::new();
        for (node, ledger) in &self.ledgers {
            let base = match theirs.get(node) {
                Some(head) if head.life > ledger.life() => continue,
                Some(head) if head.life == ledger.life() => {
                    if head.version >= ledger.version() {
                        continue;
                    }
                    head.version
                }
                Some(_) | None => 0,
            };
            let delta = ledger.delta(*node, base);
            used += delta.cost();
            if used > budget && !deltas.is_empty() {
                break;
            }
            deltas.push(delta);
        }
        deltas
    }

    /// What `node` wrote after `base`, in pieces of at most `piece` bytes that can be sent alone and in
    /// order; `None` if that cannot be told in pieces and the peer has to ask for all of it.
    pub(crate) fn pieces(&self, node: NodeId, base: u64, piece: usize) -> Option<Vec<Delta>> {
        self.ledgers.get(&node)?.pieces(node, base, piece)
    }

    /// Takes in what a peer sent. Never goes back, whatever the order or number of arrivals.
    pub(crate) fn apply(&mut self, delta: &Delta) -> Applied {
        let node = delta.node;
        if self.forgotten.contains(&node) {
            return Applied::Stale;
        }
        if delta.life.epoch > MAX_EPOCH {
            return Applied::Refused;
        }
        if node == self.me {
            self.observe(Head { node, life: delta.life, version: delta.version });
            return Applied::Stale;
        }
        let held: usize = self.ledgers.values().map(Ledger::bytes).sum();
        if held + delta.cost() > MAX_ALL_BYTES {
            return Applied::Refused;
        }
        let said = self.ledgers.get(&node).is_some_and(|ledger| !ledger.is_empty());
        let full = self.ledgers.len() >= MAX_NODES;
        let applied = match self.ledgers.get_mut(&node) {
            Some(ledger) => ledger.apply(delta),
            None if full => Applied::Refused,
            None => match Ledger::from_delta(delta) {
                Ok(ledger) => {
                    self.ledgers.insert(node, ledger);
                    Applied::Fresh
                }
                Err(applied) => applied,
            },
        };
        let says = |map: &Self| map.ledgers.get(&node).is_some_and(|ledger| !ledger.is_empty());
        if applied == Applied::Fresh && (said || says(self)) {
            self.touch(node);
        }
        applied
    }

    /// Drops a node that was removed from the cluster, and everything heard about it later.
    pub(crate) fn forget(&mut self, node: NodeId) {
        if node == self.me {
            return;
        }
        if self.ledgers.remove(&node).is_some() {
            self.touch(node);
        }
        self.forgotten.insert(node);
        while self.forgotten.len() > MAX_FORGOTTEN {
            self.forgotten.pop_first();
        }
        if self.changed.len() > 2 * MAX_NODES {
            self.changed.retain(|node, _| self.ledgers.contains_key(node));
        }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// The maps that changed after `revision`; an empty map for a node that is gone.
    pub(crate) fn changed_since(&self, revision: u64) -> Vec<(NodeId, StatusView)> {
        let changed = self.changed.iter().filter(|(_, at)| **at > revision);
        changed.map(|(node, _)| (*node, self.view(*node))).collect()
    }

    /// What `node` says about itself; empty if nothing is known.
    pub(crate) fn view(&self, node: NodeId) -> StatusView {
        self.ledgers.get(&node).map(Ledger::view).unwrap_or_default()
    }
}
