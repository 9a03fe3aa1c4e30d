//! Who a gossip member is: a node, in one life, at an address. The later life wins.
//!
//! The node id is the transport's, proven by its certificate; nothing here proves anything.

use std::net::SocketAddr;

use swarm_model::id::{Incarnation, NodeId};

/// One life of one node. For the same node, the higher bump is the later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) node: NodeId,
    /// Drawn by each process; tells two lives apart that do not know of each other yet.
    pub(crate) incarnation: Incarnation,
    /// Rises when the node returns after having been declared down, or learns of an earlier life.
    pub(crate) bump: u32,
    /// Where the node says it can be reached.
    pub(crate) addr: SocketAddr,
}

impl Identity {
    /// Stands for a node of which only the address is known; loses against every real identity.
    pub(crate) fn unknown(node: NodeId, addr: SocketAddr) -> Self {
        Self { node, incarnation: Incarnation::default(), bump: 0, addr }
    }

    /// The same node, process and address above `bump`; `None` at the end of the numbers.
    pub(crate) fn above(&self, bump: u32) -> Option<Self> {
        Some(Self { bump: self.bump.max(bump).checked_add(1)?, ..*self })
    }

    /// Whether `self` is what is true of the node, if `other` was claimed too.
    pub(crate) fn wins(&self, other: &Self) -> bool {
        let rank = |id: &Self| (id.bump, id.incarnation, id.addr);
        rank(self) > rank(other)
    }
}

impl foca::Identity for Identity {
    type Addr = NodeId;

    fn renew(&self) -> Option<Self> {
        self.above(self.bump)
    }

    fn addr(&self) -> NodeId {
        self.node
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.wins(adversary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foca::Identity as _;

    #[test]
    fn exactly_one_of_two_lives_wins() {
        let addr = SocketAddr::from(([127, 0, 0, 1], 2377));
        let id = |incarnation, bump| Identity {
            node: NodeId::from_raw(1),
            incarnation: Incarnation::from_raw(incarnation),
            bump,
            addr,
        };
        let lives = [Identity::unknown(NodeId::from_raw(1), addr), id(9, 0), id(1, 1), id(5, 1)];
        for (index, life) in lives.iter().enumerate() {
            for (other_index, other) in lives.iter().enumerate() {
                assert_eq!(life.wins(other), index > other_index);
            }
            assert!(life.renew().expect("far from the end").wins(life));
        }
        assert_eq!(id(1, u32::MAX).renew(), None);
    }
}
