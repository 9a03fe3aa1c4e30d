//! Push/pull of the member list: what packets lost, two nodes tell each other whole.
//!
//! A death is passed on as a suspicion only: the receiver finds out itself, and the dead may object.

use std::net::SocketAddr;

use foca::{Member, State};
use serde::{Deserialize, Serialize};
use swarm_model::id::{Incarnation, NodeId};
use tokio::time::Instant;

use super::{Due, Identity, Swim};
use crate::gossip::status::MAX_NODES;

/// Nodes that are known at once, the dead of the last hour among them; beyond, only a node that speaks for
/// itself is new. Nobody proves that the nodes that it tells of exist. (Of more, no statuses are kept either.)
const MAX_MEMBERS: usize = MAX_NODES;

/// One node in a push/pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    node: NodeId,
    incarnation: Incarnation,
    bump: u32,
    addr: SocketAddr,
    refutations: u16,
    standing: Standing,
}

/// Append-only: the position is the wire form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Standing {
    Alive,
    Suspect,
    Down,
}

impl Record {
    fn new(id: &Identity, refutations: u16, state: State) -> Self {
        let standing = match state {
            State::Alive => Standing::Alive,
            State::Suspect => Standing::Suspect,
            State::Down => Standing::Down,
        };
        let Identity { node, incarnation, bump, addr } = *id;
        Self { node, incarnation, bump, addr, refutations, standing }
    }

    fn identity(&self) -> Identity {
        let Self { node, incarnation, bump, addr, .. } = *self;
        Identity { node, incarnation, bump, addr }
    }
}

impl Swim {
    /// Everything known, this node first.
    pub(crate) fn records(&self) -> Vec<Record> {
        let me = Record::new(self.me(), self.refutations, State::Alive);
        let others = self.foca.iter_membership_state();
        let others =
            others.filter(|m| m.id().node != me.node && !self.members.is_forgotten(m.id().node));
        let others = others.map(|m| Record::new(m.id(), m.incarnation(), m.state()));
        std::iter::once(me).chain(others).collect()
    }

    /// How many more nodes may become known by hearsay.
    pub(super) fn room(&self) -> usize {
        MAX_MEMBERS.saturating_sub(self.foca.iter_membership_state().count())
    }

    /// Takes in what `from` knows.
    pub(crate) fn merge(&mut self, now: Instant, from: NodeId, records: &[Record]) {
        self.heard.insert(from, now);
        let me = *self.me();
        let own = records.iter().find(|record| record.node == me.node).map(Record::identity);
        if let Some(earlier) = own.filter(|id| id.wins(&me)) {
            return self.handle_superseded(now, from, earlier.bump);
        }
        let mut room = self.room();
        let member = |record: &Record| {
            let known = self.known(record.node).is_some() || record.node == me.node;
            if !known {
                room = room.checked_sub(1)?;
            }
            let state = match record.standing {
                Standing::Alive => State::Alive,
                Standing::Suspect => State::Suspect,
                // A dead stranger is no news.
                Standing::Down if known => State::Suspect,
                Standing::Down => return None,
            };
            let wanted = !self.members.is_forgotten(record.node)
                && (record.node != me.node || record.identity() == me);
            wanted.then(|| Member::new(record.identity(), record.refutations, state))
        };
        let updates: Vec<_> = records.iter().filter_map(member).collect();
        let merged = self.foca.apply_many(updates.into_iter(), true, &mut self.runtime);
        self.settle(now, merged);
    }

    /// Drops a node that was removed from the cluster.
    pub(crate) fn forget(&mut self, now: Instant, node: NodeId) {
        self.members.forget(node);
        self.announcer.remove(node);
        self.suspicions.remove(&node);
        self.heard.remove(&node);
        self.greeted.remove(&node);
        self.timers
            .retain(|due| !matches!(due, Due::GiveUp(of) | Due::TellSuspect(of) if *of == node));
        if let Some(id) = self.known(node).map(|member| *member.id()) {
            let gone = std::iter::once(Member::down(id));
            let applied = self.foca.apply_many(gone, false, &mut self.runtime);
            self.settle(now, applied);
            let removed = self.foca.handle_timer(foca::Timer::RemoveDown(id), &mut self.runtime);
            self.settle(now, removed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gossip::codec::WireCodec;
    use crate::gossip::config::GossipConfig;
    use bytes::BufMut;
    use foca::{Codec, Header, Message};

    fn identity(raw: u128) -> Identity {
        let addr = SocketAddr::from(([10, 0, 0, 1], 2377));
        let incarnation = Incarnation::from_raw(raw);
        Identity { incarnation, bump: 1, ..Identity::unknown(NodeId::from_raw(raw), addr) }
    }

    /// What `from` tells node 1 about others.
    fn tell(swim: &mut Swim, from: u128, others: std::ops::Range<u128>) {
        let (src, dst) = (identity(from), identity(1));
        let header = Header { src, src_incarnation: 0, dst, message: Message::Gossip };
        let mut packet = Vec::new();
        WireCodec.encode_header(&header, &mut packet).expect("has room");
        packet.put_u16(u16::try_from(others.end - others.start).expect("are few"));
        for other in others {
            let member = Member::alive(identity(other));
            WireCodec.encode_member(&member, &mut packet).expect("has room");
        }
        swim.handle_packet(Instant::now(), src.node, &packet);
    }

    #[test]
    fn made_up_nodes_leave_room_for_those_that_speak_for_themselves() {
        let mut swim = Swim::new(GossipConfig::default(), identity(1), 7, Box::new(|_| None));
        let mut next = 1000;
        while swim.room() > 0 {
            tell(&mut swim, 2, next..next + 20);
            next += 20;
        }
        let count = |swim: &Swim| swim.foca.iter_membership_state().count();
        assert!(count(&swim) < MAX_MEMBERS + 20);
        let full = count(&swim);
        tell(&mut swim, 2, next..next + 20);
        let record = Record::new(&identity(next), 0, State::Alive);
        swim.merge(Instant::now(), NodeId::from_raw(2), &[record]);
        assert_eq!(count(&swim), full, "hearsay was taken");
        tell(&mut swim, 3, next..next + 20);
        assert_eq!(count(&swim), full + 1);
        assert!(swim.known(NodeId::from_raw(3)).is_some(), "it spoke for itself");
    }
}
