//! Push/pull of the member list: what packets lost, two nodes tell each other whole.
//!
//! A death is passed on as a suspicion only: the receiver finds out itself, and the dead may object.

use std::net::SocketAddr;

use foca::{Member, State};
use serde::{Deserialize, Serialize};
use swarm_model::id::{Incarnation, NodeId};
use tokio::time::Instant;

use super::{Due, Identity, Swim};

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

    /// Takes in what `from` knows.
    pub(crate) fn merge(&mut self, now: Instant, from: NodeId, records: &[Record]) {
        self.heard.insert(from, now);
        let me = *self.me();
        let own = records.iter().find(|record| record.node == me.node).map(Record::identity);
        if let Some(earlier) = own.filter(|id| id.wins(&me)) {
            return self.handle_superseded(now, from, earlier.bump);
        }
        let member = |record: &Record| {
            let known = self.known(record.node).is_some() || record.node == me.node;
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
