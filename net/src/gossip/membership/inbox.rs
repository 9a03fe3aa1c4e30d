//! What other nodes say: foca's packets, and what they know of this node's lives and probes.
//!
//! What comes of it goes out through `settle`.

use std::net::SocketAddr;
use std::time::Duration;

use foca::{Message, State, Timer};
use swarm_model::id::NodeId;
use tokio::time::Instant;

use super::{Due, Mail, Swim};
use crate::gossip::codec::take_header;
use crate::gossip::identity::Identity;

/// This node changes its identity and greets a peer at most once in this time.
const CALM: Duration = Duration::from_millis(100);

impl Swim {
    /// Takes one of foca's packets, sent by `from` as its certificate says.
    pub(crate) fn handle_packet(&mut self, now: Instant, from: NodeId, packet: &[u8]) {
        let mut news = packet;
        let header = match take_header(&mut news) {
            Ok(header) if header.src.node == from && !self.members.is_forgotten(from) => header,
            Ok(_) => return tracing::debug!(peer = %from, "gossip in another node's name dropped"),
            Err(error) => return tracing::debug!(peer = %from, %error, "malformed gossip dropped"),
        };
        self.heard.insert(from, now);
        if let Some(known) =
            self.known(from).map(foca::Member::id).filter(|id| id.wins(&header.src))
        {
            let bump = known.bump;
            self.mail.push((from, Mail::Superseded { bump }));
            return;
        }
        if header.dst != *self.me() && header.message != Message::Announce {
            // Meant for an earlier life of ours: foca would drop it, so say who we are now.
            return self.greet(now, header.src);
        }
        let mut answered = None;
        match header.message {
            Message::Ack(number) => answered = self.answered(number, Some(header.src)),
            Message::ForwardedAck { probe_number, .. } => {
                answered = self.answered(probe_number, None)
            }
            Message::PingReq { probe_number, .. } => {
                self.mail.push((from, Mail::Heard { probe: probe_number }));
            }
            Message::TurnUndead if !self.may_renew(now) => return,
            Message::TurnUndead
            | Message::Ping(_)
            | Message::IndirectPing { .. }
            | Message::IndirectAck { .. }
            | Message::Announce
            | Message::Feed
            | Message::Gossip
            | Message::Broadcast => {}
        }
        // What follows the header is about other nodes, which nobody proves to exist.
        let taken = if self.room() == 0 { packet.len() - news.len() } else { packet.len() };
        let handled = self.foca.handle_data(&packet[..taken], &mut self.runtime);
        self.settle(now, handled);
        if let Some(timer) = answered {
            self.fire(now, timer);
        }
    }

    /// The running probe was answered, by its target or through a helper.
    ///
    /// Returns the timer that would ask helpers: foca wants it fired even so, and now that costs no
    /// wake-up later.
    fn answered(&mut self, number: u8, by: Option<Identity>) -> Option<Timer<Identity>> {
        let probe = self.probe.as_mut().filter(|probe| probe.number == number)?;
        if by.is_some_and(|by| by != probe.target) {
            return None;
        }
        probe.answered();
        let asks_helpers = |due: &Due| matches!(due, Due::Foca(Timer::SendIndirectProbe { .. }));
        match self.timers.take_first(asks_helpers)? {
            Due::Foca(timer) => Some(timer),
            Due::Spread | Due::TellSuspect(_) | Due::Announce | Due::GiveUp(_) => None,
        }
    }

    pub(crate) fn handle_heard(&mut self, number: u8) {
        if let Some(probe) = self.probe.as_mut() {
            probe.heard(number);
        }
    }

    /// `from` says that this node had an earlier life with `bump`: go above it and say so.
    pub(crate) fn handle_superseded(&mut self, now: Instant, from: NodeId, bump: u32) {
        if bump < self.me().bump || !self.may_renew(now) {
            return;
        }
        let Some(above) = self.me().above(bump) else { return };
        self.change_identity(now, above);
        if let Some(peer) =
            self.known(from).map(|member| *member.id()).or_else(|| self.announcer.seed(from))
        {
            let announced = self.foca.announce(peer, &mut self.runtime);
            self.settle(now, announced);
        }
    }

    /// `from` suspects this node: object, to it and to others.
    pub(crate) fn handle_suspected(&mut self, now: Instant, from: NodeId, refutations: u16) {
        let suspect = foca::Member::new(*self.me(), refutations, State::Suspect);
        let applied = self.foca.apply_many(std::iter::once(suspect), false, &mut self.runtime);
        self.settle(now, applied);
        if let Some(peer) = self.known(from).map(|member| *member.id()) {
            let answered = self.foca.announce(peer, &mut self.runtime);
            self.settle(now, answered);
        }
    }

    /// This node can be reached at `addr` from now on.
    pub(crate) fn relocate(&mut self, now: Instant, addr: SocketAddr) {
        if self.me().addr != addr
            && let Some(above) = self.me().above(self.me().bump)
        {
            self.change_identity(now, Identity { addr, ..above });
            self.announcer.restart();
            self.arm_announcer(now);
        }
    }

    fn may_renew(&mut self, now: Instant) -> bool {
        let may = self.renewed.is_none_or(|at| now >= at + CALM);
        if may {
            self.renewed = Some(now);
        }
        may
    }

    fn change_identity(&mut self, now: Instant, identity: Identity) {
        let changed = self.foca.change_identity(identity, &mut self.runtime);
        self.start_over();
        self.settle(now, changed);
    }

    /// What was going on concerned an identity that is no more.
    pub(super) fn start_over(&mut self) {
        self.probe = None;
        self.refutations = 0;
        self.suspicions.clear();
    }

    fn greet(&mut self, now: Instant, peer: Identity) {
        let calm = self.greeted.get(&peer.node).is_none_or(|at| now >= *at + CALM);
        if calm {
            self.greeted.insert(peer.node, now);
            let announced = self.foca.announce(peer, &mut self.runtime);
            self.settle(now, announced);
        }
    }
}
