//! Gossip without I/O: membership and status maps together. Datagrams, answers and time in; datagrams,
//! wishes to sync and deadlines out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rand::prelude::IteratorRandom;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use swarm_model::id::NodeId;
use tokio::time::Instant;

use super::config::GossipConfig;
use super::identity::Identity;
use super::members::MemberView;
use super::membership::{Mail, RoundTrips, Swim};
use super::packet::{Exchange, News, PIECE, Packet};
use super::status::{Applied, Delta, Head, StatusError, StatusKey, StatusMap, StatusView};
use crate::frame::{self, FrameError};

/// In a cluster of at most so many peers, a status goes to each of them directly.
const DIRECT: usize = 8;
/// In a larger one it goes to so many, and each passes news on to as many.
const RUMOUR: usize = 5;
/// The most status bytes in one direction of a push/pull; what is left follows in the next round.
const SYNC_BYTES: usize = 512 * 1024;
/// The same peer is asked at most once in this time.
const SYNC_CALM: Duration = Duration::from_millis(250);
/// Members and heads taken from one message.
const MAX_RECORDS: usize = 8192;

/// What the driver has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Output {
    Datagram(NodeId, Bytes),
    /// Push/pull with this peer.
    Sync(NodeId),
    /// A node says that it can be reached here.
    Address(NodeId, SocketAddr),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Core {
    config: GossipConfig,
    swim: Swim,
    status: StatusMap,
    rng: StdRng,
    outputs: Vec<Output>,
    /// The own version that peers have been sent.
    flushed: u64,
    flush_at: Option<Instant>,
    sync_at: Option<Instant>,
    synced: BTreeMap<NodeId, Instant>,
}

impl Core {
    pub(crate) fn new(
        config: GossipConfig,
        me: Identity,
        seed: u64,
        round_trips: RoundTrips,
    ) -> Self {
        Self {
            config,
            status: StatusMap::new(me.node, me.incarnation),
            swim: Swim::new(config, me, seed, round_trips),
            rng: StdRng::seed_from_u64(!seed),
            outputs: Vec::new(),
            flushed: 0,
            flush_at: None,
            sync_at: None,
            synced: BTreeMap::new(),
        }
    }

    pub(crate) fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    pub(crate) fn take_view(&mut self) -> Option<MemberView> {
        self.swim.members().take_changed()
    }

    pub(crate) fn status_revision(&self) -> u64 {
        self.status.revision()
    }

    pub(crate) fn status(&self, node: NodeId) -> StatusView {
        self.status.view(node)
    }

    pub(crate) fn statuses_since(&self, revision: u64) -> Vec<(NodeId, StatusView)> {
        self.status.changed_since(revision)
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        [self.swim.next_deadline(), self.flush_at, self.sync_at].into_iter().flatten().min()
    }

    pub(crate) fn seed_peers(&mut self, now: Instant, peers: Vec<(NodeId, SocketAddr)>) {
        self.swim.seed_peers(now, peers);
        self.collect(now);
    }

    pub(crate) fn relocate(&mut self, now: Instant, addr: SocketAddr) {
        self.swim.relocate(now, addr);
        self.collect(now);
    }

    pub(crate) fn forget(&mut self, now: Instant, node: NodeId) {
        self.swim.forget(now, node);
        self.status.forget(node);
        self.synced.remove(&node);
        self.collect(now);
    }

    /// Changes the own status map; peers hear of it within [`GossipConfig::batch`].
    pub(crate) fn write(
        &mut self,
        now: Instant,
        key: StatusKey,
        value: Option<Bytes>,
    ) -> Result<(), StatusError> {
        if self.status.write(key, value)? {
            self.flush_at.get_or_insert(now + self.config.batch);
        }
        Ok(())
    }

    pub(crate) fn handle_datagram(&mut self, now: Instant, from: NodeId, payload: &[u8]) {
        if self.swim.members().is_forgotten(from) {
            return;
        }
        match frame::decode(payload) {
            Ok(packet) => self.handle_packet(now, from, packet),
            Err(error) => tracing::debug!(peer = %from, %error, "malformed gossip dropped"),
        }
        self.collect(now);
    }

    fn handle_packet(&mut self, now: Instant, from: NodeId, packet: Packet) {
        match packet {
            Packet::Swim { news, body } => {
                self.swim.handle_packet(now, from, &body);
                self.observe(now, from, news);
            }
            Packet::Superseded { bump } => self.swim.handle_superseded(now, from, bump),
            Packet::Heard { probe } => self.swim.handle_heard(probe),
            Packet::Suspected { refutations } => self.swim.handle_suspected(now, from, refutations),
            Packet::Status { deltas } => self.handle_status(now, from, deltas),
            Packet::Changed { news } => self.observe(now, from, news),
        }
    }

    fn observe(&mut self, now: Instant, from: NodeId, News { life, version }: News) {
        if self.status.observe(Head { node: from, life, version }) {
            self.want_sync(now, from);
        }
    }

    fn handle_status(&mut self, now: Instant, from: NodeId, deltas: Vec<Delta>) {
        let mut fresh = Vec::new();
        for delta in deltas {
            match self.status.apply(&delta) {
                Applied::Fresh => fresh.push(delta),
                Applied::Gap => self.want_sync(now, from),
                Applied::Stale => {}
                Applied::Refused => tracing::debug!(peer = %from, "unsound status dropped"),
            }
        }
        let about: Vec<NodeId> = fresh.iter().map(|delta| delta.node).collect();
        let others: Vec<NodeId> = self.swim.active().filter(|node| *node != from).collect();
        if fresh.is_empty() || others.len() < DIRECT {
            return;
        }
        let payload = frame::encode(&Packet::Status { deltas: fresh });
        let others = others.into_iter().filter(|node| !about.contains(node));
        for to in others.sample(&mut self.rng, RUMOUR) {
            self.outputs.push(Output::Datagram(to, payload.clone()));
        }
    }

    fn want_sync(&mut self, now: Instant, peer: NodeId) {
        if self.synced.get(&peer).is_none_or(|at| now >= *at + SYNC_CALM) {
            self.synced.insert(peer, now);
            self.outputs.push(Output::Sync(peer));
        }
    }

    /// Sends what was published since the last time.
    fn flush(&mut self) {
        self.flush_at = None;
        let Head { node, life, version } = self.status.own_head();
        let packets: Vec<Bytes> = match self.status.pieces(node, self.flushed, PIECE) {
            Some(pieces) => {
                let packet = |delta| frame::encode(&Packet::Status { deltas: vec![delta] });
                pieces.into_iter().map(packet).collect()
            }
            None => vec![frame::encode(&Packet::Changed { news: News { life, version } })],
        };
        self.flushed = version;
        let active: Vec<NodeId> = self.swim.active().collect();
        let fanout = if active.len() <= DIRECT { DIRECT } else { RUMOUR };
        for to in active.into_iter().sample(&mut self.rng, fanout) {
            let datagrams = packets.iter().map(|packet| Output::Datagram(to, packet.clone()));
            self.outputs.extend(datagrams);
        }
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.swim.handle_timers(now);
        if self.flush_at.is_some_and(|at| at <= now) {
            self.flush();
        }
        if self.sync_at.is_some_and(|at| at <= now) {
            let jitter = self.rng.random_range(0.8..1.2);
            self.sync_at = Some(now + self.config.sync_interval.mul_f64(jitter));
            if let Some(peer) = self.swim.active().choose(&mut self.rng) {
                self.want_sync(now, peer);
            } else {
                self.sync_at = None;
            }
        }
        self.collect(now);
    }

    /// Turns what membership wants into outputs.
    fn collect(&mut self, now: Instant) {
        for (to, mail) in self.swim.take_mail() {
            let packet = match mail {
                Mail::Swim(body) => Packet::Swim { news: self.status.own_head().into(), body },
                Mail::Superseded { bump } => Packet::Superseded { bump },
                Mail::Heard { probe } => Packet::Heard { probe },
                Mail::Suspected { refutations } => Packet::Suspected { refutations },
            };
            self.outputs.push(Output::Datagram(to, frame::encode(&packet)));
        }
        for (node, addr) in self.swim.members().take_moved() {
            self.outputs.push(Output::Address(node, addr));
        }
        if self.sync_at.is_none() && self.swim.active().next().is_some() {
            // Just joined, or back from being alone: learn everything at once.
            self.sync_at = Some(now);
        }
    }

    /// The first message of a push/pull.
    pub(crate) fn sync_request(&self) -> Exchange {
        Exchange { members: self.swim.records(), digest: self.status.digest(), deltas: Vec::new() }
    }

    /// Answers a peer's push/pull.
    ///
    /// # Errors
    /// When the request is malformed. Nothing was changed.
    pub(crate) fn handle_sync(
        &mut self,
        now: Instant,
        from: NodeId,
        request: &[u8],
    ) -> Result<Bytes, FrameError> {
        let request: Exchange = frame::decode(request)?;
        let asks_members = !request.members.is_empty();
        self.absorb(now, from, &request);
        let answer = Exchange {
            members: if asks_members { self.swim.records() } else { Vec::new() },
            digest: self.status.digest(),
            deltas: self.status.deltas_for(&request.digest, SYNC_BYTES),
        };
        self.collect(now);
        Ok(frame::encode(&answer))
    }

    /// Takes in the answer to a push/pull; returns the next request if there is more to tell or to hear.
    ///
    /// # Errors
    /// When the answer is malformed. Nothing was changed.
    pub(crate) fn sync_answer(
        &mut self,
        now: Instant,
        from: NodeId,
        answer: &[u8],
    ) -> Result<Option<Exchange>, FrameError> {
        let answer: Exchange = frame::decode(answer)?;
        let behind = self.absorb(now, from, &answer);
        let deltas = self.status.deltas_for(&answer.digest, SYNC_BYTES);
        self.collect(now);
        let more = behind || !deltas.is_empty();
        Ok(more.then(|| Exchange { members: Vec::new(), digest: self.status.digest(), deltas }))
    }

    /// True if the sender knows more than it has sent.
    fn absorb(&mut self, now: Instant, from: NodeId, exchange: &Exchange) -> bool {
        let members = &exchange.members[..exchange.members.len().min(MAX_RECORDS)];
        if !members.is_empty() {
            self.swim.merge(now, from, members);
        }
        for delta in &exchange.deltas {
            self.status.apply(delta);
        }
        let heads = exchange.digest.iter().take(MAX_RECORDS);
        heads.fold(false, |behind, head| self.status.observe(*head) | behind)
    }
}
