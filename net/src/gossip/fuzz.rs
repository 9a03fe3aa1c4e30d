//! What gossip reads, for the fuzz driver: single messages, and a node that hears many of them.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use swarm_model::fuzz::Target;
use swarm_model::id::{Incarnation, NodeId, TaskId};
use tokio::time::Instant;

use super::config::GossipConfig;
use super::core::{Core, Output};
use super::identity::Identity;
use super::packet::{Exchange, Packet};
use super::status::StatusKey;
use crate::frame;
use crate::fuzz::message;

/// A datagram.
pub(crate) const PACKET: Target = Target::new("net.gossip-packet", message::<Packet>, || {
    talk().into_iter().filter(|(way, _)| *way == 0).map(|(_, bytes)| bytes).collect()
});
/// One direction of a push/pull.
pub(crate) const EXCHANGE: Target = Target::new("net.gossip-exchange", message::<Exchange>, || {
    talk().into_iter().filter(|(way, _)| *way != 0).map(|(_, bytes)| bytes).collect()
});
/// A node that hears datagrams, push/pulls and answers: `way, length (u16), bytes` of each.
pub(crate) const CORE: Target = Target::new("net.gossip-node", hear, || {
    let talk = talk();
    let framed = |(way, bytes): &(u8, Vec<u8>)| {
        let length = u16::try_from(bytes.len()).expect("is short");
        [&[*way], &length.to_be_bytes()[..], bytes].concat()
    };
    let all = talk.iter().map(framed).collect::<Vec<_>>();
    vec![all.concat(), all.iter().rev().flatten().copied().collect(), all[0].clone()]
});

fn node(raw: u128) -> NodeId {
    NodeId::from_raw(raw)
}

fn core(raw: u128) -> Core {
    let addr = SocketAddr::from(([10, 0, 0, u8::try_from(raw).unwrap_or(9)], 2377));
    let life = Identity {
        incarnation: Incarnation::from_raw(raw + 70),
        bump: 1,
        ..Identity::unknown(node(raw), addr)
    };
    Core::new(GossipConfig::default(), life, 7, Box::new(|_| None))
}

/// What node 2 says to node 1 while the two get to know each other.
fn talk() -> Vec<(u8, Vec<u8>)> {
    let (mut one, mut two) = (core(1), core(2));
    let mut now = Instant::now();
    one.seed_peers(now, vec![(node(2), SocketAddr::from(([10, 0, 0, 2], 2377)))]);
    two.seed_peers(now, vec![(node(1), SocketAddr::from(([10, 0, 0, 1], 2377)))]);
    let value = Some(Bytes::from_static(b"running"));
    two.write(now, StatusKey::Task(TaskId::from_raw(5)), value).expect("has room");
    let mut said = Vec::new();
    for _round in 0..8 {
        now += Duration::from_millis(400);
        one.tick(now);
        two.tick(now);
        for output in two.take_outputs() {
            match output {
                Output::Datagram(_, bytes) => {
                    one.handle_datagram(now, node(2), &bytes);
                    said.push((0, bytes.to_vec()));
                }
                Output::Sync(_) => {
                    let ask = frame::encode(&two.sync_request()).to_vec();
                    let answer = one.handle_sync(now, node(2), &ask).expect("is a request");
                    said.extend([(1, ask), (2, answer.to_vec())]);
                }
                Output::Address(..) => {}
            }
        }
        for output in one.take_outputs() {
            if let Output::Datagram(_, bytes) = output {
                two.handle_datagram(now, node(1), &bytes);
            }
        }
    }
    said
}

fn hear(mut bytes: &[u8]) -> bool {
    let mut core = core(1);
    let mut now = Instant::now();
    core.seed_peers(now, vec![(node(2), SocketAddr::from(([10, 0, 0, 2], 2377)))]);
    let mut heard = false;
    while let [way, high, low, rest @ ..] = bytes {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (message, behind) = rest.split_at(length);
        // The time between messages is the sender's to choose.
        now += Duration::from_millis(u64::from(*way >> 2) * 50);
        match way & 3 {
            0 => core.handle_datagram(now, node(2), message),
            1 => heard |= core.handle_sync(now, node(2), message).is_ok(),
            2 => heard |= core.sync_answer(now, node(2), message).is_ok(),
            _ => core.forget(now, node(3)),
        }
        core.tick(now);
        heard |= !core.take_outputs().is_empty();
        bytes = behind;
    }
    let _statuses = core.statuses_since(0);
    heard
}
