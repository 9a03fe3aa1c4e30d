//! What gossip puts on the wire: datagrams, and the two messages of a push/pull.
//!
//! Append-only: the position of a variant is its wire form. What they cause is not here.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::membership::Record;
use super::status::{Delta, Head, Life};

/// The most status bytes in one datagram, so that the frame stays under QUIC's first datagram size.
pub(crate) const PIECE: usize = 1000;

/// One datagram.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Packet {
    /// A packet of the membership protocol, and how far the sender's own status map has got.
    Swim { news: News, body: Bytes },
    /// The receiver's node had an earlier life that has to be beaten.
    Superseded { bump: u32 },
    /// The request to help with a probe arrived.
    Heard { probe: u8 },
    /// The sender suspects the receiver.
    Suspected { refutations: u16 },
    /// Pieces of status maps.
    Status { deltas: Vec<Delta> },
    /// The sender's status map has changed by more than fits here: ask for it.
    Changed { news: News },
}

/// How far the sender's own status map has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct News {
    pub(crate) life: Life,
    pub(crate) version: u64,
}

impl From<Head> for News {
    fn from(Head { life, version, .. }: Head) -> Self {
        Self { life, version }
    }
}

/// One direction of a push/pull: what the sender knows, and what the receiver seems to lack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Exchange {
    pub(crate) members: Vec<Record>,
    pub(crate) digest: Vec<Head>,
    pub(crate) deltas: Vec<Delta>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame;
    use crate::gossip::status::{MAX_NODE_BYTES, StatusKey, StatusMap};
    use swarm_model::id::{Incarnation, NodeId};

    #[test]
    fn datagrams_are_pinned() {
        let life = Life { epoch: 2, incarnation: Incarnation::from_raw(9) };
        let news = News { life, version: 3 };
        let swim = Packet::Swim { news, body: Bytes::from_static(&[7, 8]) };
        assert_eq!(frame::encode(&swim)[..], [1, 0, 2, 9, 3, 2, 7, 8]);
        assert_eq!(frame::encode(&Packet::Superseded { bump: 5 })[..], [1, 1, 5]);
        assert_eq!(frame::encode(&Packet::Heard { probe: 5 })[..], [1, 2, 5]);
        assert_eq!(frame::encode(&Packet::Suspected { refutations: 5 })[..], [1, 3, 5]);
        let mut map = StatusMap::new(NodeId::from_raw(1), life.incarnation);
        map.write(StatusKey::Resources, Some(Bytes::from_static(&[6]))).expect("small");
        let deltas = map.deltas_for(&[], MAX_NODE_BYTES);
        let status = [1, 4, 1, 1, 0, 9, 0, 1, 0, 1, 0, 1, 1, 1, 6];
        assert_eq!(frame::encode(&Packet::Status { deltas })[..], status);
        assert_eq!(frame::encode(&Packet::Changed { news })[..], [1, 5, 2, 9, 3]);
    }

    #[test]
    fn the_estimated_cost_of_a_delta_is_never_below_its_true_size() {
        let raw = u128::MAX;
        let mut map = StatusMap::new(NodeId::from_raw(raw), Incarnation::from_raw(raw));
        for task in 0..15u8 {
            let key = StatusKey::Task(swarm_model::id::TaskId::from_raw(raw - u128::from(task)));
            map.write(key, Some(Bytes::from(vec![0; 20]))).expect("small");
        }
        let deltas = map.deltas_for(&[], MAX_NODE_BYTES);
        let cost = deltas[0].cost();
        assert!(cost <= PIECE);
        assert!(frame::encode(&Packet::Status { deltas }).len() <= cost);
    }
}
