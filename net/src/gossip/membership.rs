//! Who is alive: SWIM by foca, with Lifeguard's self-doubt around it. Sans-IO: packets and time in,
//! packets and deadlines out.
//!
//! Added around foca: time stretches with this node's health ([`super::health`]), stands still while the
//! process does not run ([`super::timers`]), suspects are told directly and heard out, a restarted node learns
//! at once which life it has to beat, and a node that lost everybody forgets what it thought of them.

mod announce;
mod exchange;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

use bytes::Bytes;
use foca::{
    AccumulatingRuntime, Foca, Message, NoCustomBroadcast, OwnedNotification, State, Timer,
};
use rand::SeedableRng;
use rand::rngs::StdRng;
use swarm_model::id::NodeId;
use tokio::time::Instant;

use super::codec::{WireCodec, take_header};
use super::config::GossipConfig;
use super::health::{LocalHealth, Sign};
use super::identity::Identity;
use super::members::{Liveness, Members};
use super::probe::{Probe, Suspicion};
use super::timers::Timers;
use announce::Announcer;
pub(crate) use exchange::Record;

/// The largest packet of foca's; around it comes a frame of less than a hundred bytes.
const MAX_PACKET: usize = 1024;
/// Helpers of a failed probe, and receivers of each round of news.
const FANOUT: usize = 3;
/// News goes out each time this has passed, while there is any.
const SPREAD: Duration = Duration::from_millis(100);
/// A suspect is told again each time this has passed.
const TELL_SUSPECT: Duration = Duration::from_millis(200);
/// This node changes its identity and greets a peer at most once in this time.
const CALM: Duration = Duration::from_millis(100);
/// Identities of dead processes are remembered for so long.
const REMEMBER_DOWN: Duration = Duration::from_secs(3600);

/// Tells the round-trip time to a node, where it is known.
pub(crate) type RoundTrips = Box<dyn Fn(NodeId) -> Option<Duration> + Send>;

/// What this part wants sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mail {
    /// A packet of foca's.
    Swim(Bytes),
    /// The receiver's node had a life with this bump: it has to go above.
    Superseded { bump: u32 },
    /// The request to help with this probe arrived.
    Heard { probe: u8 },
    /// The receiver is suspected at this count of refutations: it should object.
    Suspected { refutations: u16 },
}

#[derive(Debug)]
enum Due {
    Foca(Timer<Identity>),
    Spread,
    TellSuspect(NodeId),
    Announce,
    GiveUp(NodeId),
}

type Protocol = Foca<Identity, WireCodec, StdRng, NoCustomBroadcast>;

/// See the module.
pub(crate) struct Swim {
    config: GossipConfig,
    seed: u64,
    foca: Protocol,
    foca_config: foca::Config,
    runtime: AccumulatingRuntime<Identity>,
    timers: Timers<Due>,
    health: LocalHealth,
    round_trips: RoundTrips,
    probe: Option<Probe>,
    /// How long the newest probe waits before it asks helpers.
    patience: Duration,
    /// How often this node has refuted a suspicion, in this identity.
    refutations: u16,
    suspicions: BTreeMap<NodeId, Suspicion>,
    heard: BTreeMap<NodeId, Instant>,
    greeted: BTreeMap<NodeId, Instant>,
    renewed: Option<Instant>,
    spreading: bool,
    announcer: Announcer,
    members: Members,
    mail: Vec<(NodeId, Mail)>,
}

fn foca_config(config: &GossipConfig) -> foca::Config {
    let few = NonZeroUsize::new(FANOUT).expect("not zero");
    foca::Config {
        // Only their order matters to foca: the real times are set when a timer is pushed here.
        probe_period: config.probe_interval.max(2 * config.probe_timeout),
        probe_rtt: config.probe_timeout,
        num_indirect_probes: few,
        max_transmissions: transmissions(1),
        suspect_to_down_after: config.suspicion,
        remove_down_after: Some(REMEMBER_DOWN),
        max_packet_size: NonZeroUsize::new(MAX_PACKET).expect("not zero"),
        notify_down_members: true,
        periodic_announce: None,
        periodic_announce_to_down_members: None,
        periodic_gossip: None,
    }
}

/// How often each piece of news is sent on: a few times the logarithm of the cluster's size.
fn transmissions(members: usize) -> NonZeroU8 {
    let log = u8::try_from(members.max(1).ilog2()).unwrap_or(u8::MAX);
    NonZeroU8::new(5 + 2 * log.min(30)).expect("at least five")
}

impl Swim {
    pub(crate) fn new(
        config: GossipConfig,
        me: Identity,
        seed: u64,
        round_trips: RoundTrips,
    ) -> Self {
        let foca_config = foca_config(&config);
        let rng = StdRng::seed_from_u64(seed);
        Self {
            config,
            seed,
            foca: Foca::new(me, foca_config.clone(), rng, WireCodec),
            foca_config,
            runtime: AccumulatingRuntime::new(),
            timers: Timers::new(),
            health: LocalHealth::default(),
            round_trips,
            probe: None,
            patience: config.probe_timeout,
            refutations: 0,
            suspicions: BTreeMap::new(),
            heard: BTreeMap::new(),
            greeted: BTreeMap::new(),
            renewed: None,
            spreading: false,
            announcer: Announcer::new(config.announce_interval, seed),
            members: Members::default(),
            mail: Vec::new(),
        }
    }

    pub(crate) fn me(&self) -> &Identity {
        self.foca.identity()
    }

    pub(crate) fn members(&mut self) -> &mut Members {
        &mut self.members
    }

    pub(crate) fn take_mail(&mut self) -> Vec<(NodeId, Mail)> {
        std::mem::take(&mut self.mail)
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The nodes that are not down.
    pub(crate) fn active(&self) -> impl Iterator<Item = NodeId> {
        let nodes = self.foca.iter_members().map(|member| member.id().node);
        nodes.filter(|node| !self.members.is_forgotten(*node))
    }

    fn known(&self, node: NodeId) -> Option<&foca::Member<Identity>> {
        self.foca.iter_membership_state().find(|member| member.id().node == node)
    }

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
    fn start_over(&mut self) {
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

    /// Does what is due.
    pub(crate) fn handle_timers(&mut self, now: Instant) {
        if let Some(shift) = self.timers.skip_stall(now) {
            tracing::debug!(stalled = ?shift, "gossip did not run for a while");
            self.health.note(Sign::Stalled);
            self.suspicions.values_mut().for_each(|suspicion| suspicion.since += shift);
        }
        while let Some(due) = self.timers.pop(now) {
            match due {
                Due::Foca(timer) => self.fire(now, timer),
                Due::Spread => {
                    self.spreading = false;
                    let spread = self.foca.gossip(&mut self.runtime);
                    self.settle(now, spread);
                }
                Due::TellSuspect(node) => self.tell_suspect(now, node),
                Due::Announce => self.announce(now),
                Due::GiveUp(node) => self.members.give_up(node, now),
            }
        }
    }

    fn fire(&mut self, now: Instant, timer: Timer<Identity>) {
        match &timer {
            Timer::ProbeRandomMember(_) => {
                if let Some(probe) = self.probe.take() {
                    self.health.note(probe.sign());
                }
            }
            Timer::ChangeSuspectToDown { member_id, incarnation, .. } => {
                let node = member_id.node;
                let same = |suspicion: &&Suspicion| {
                    suspicion.of == *member_id && suspicion.refutations == *incarnation
                };
                if let Some(suspicion) = self.suspicions.get(&node).filter(same) {
                    let heard = self.heard.get(&node).copied();
                    let at = suspicion.believed_at(self.objection_time(node), self.health, heard);
                    if now < at {
                        return self.timers.push(at, Due::Foca(timer));
                    }
                    self.suspicions.remove(&node);
                }
            }
            Timer::SendIndirectProbe { .. }
            | Timer::PeriodicAnnounce(_)
            | Timer::PeriodicAnnounceDown(_)
            | Timer::PeriodicGossip(_)
            | Timer::RemoveDown(_) => {}
        }
        let handled = self.foca.handle_timer(timer, &mut self.runtime);
        self.settle(now, handled);
    }

    fn tell_suspect(&mut self, now: Instant, node: NodeId) {
        let Some(suspicion) = self.suspicions.get(&node).copied() else { return };
        let still = self
            .known(node)
            .is_some_and(|member| member.state() == State::Suspect && *member.id() == suspicion.of);
        if still {
            self.mail.push((node, Mail::Suspected { refutations: suspicion.refutations }));
            self.timers.push(now + TELL_SUSPECT, Due::TellSuspect(node));
        }
    }

    fn round_trip(&self, node: NodeId) -> Duration {
        (self.round_trips)(node).unwrap_or_default()
    }

    /// How long a suspect has to object, seen from a healthy node.
    fn objection_time(&self, node: NodeId) -> Duration {
        self.config.suspicion.max(6 * self.round_trip(node))
    }

    /// After each call into foca: passes on what it wants sent, schedules its timers, learns its news.
    fn settle(&mut self, now: Instant, result: Result<(), foca::Error>) {
        if let Err(error) = result {
            tracing::debug!(%error, "gossip went on after a protocol error");
        }
        while let Some((to, packet)) = self.runtime.to_send() {
            self.watch_outgoing(&to, &packet);
            self.mail.push((to.node, Mail::Swim(packet)));
        }
        while let Some((after, timer)) = self.runtime.to_schedule() {
            self.schedule(now, after, timer);
        }
        let (mut idle, mut any) = (false, false);
        while let Some(news) = self.runtime.to_notify() {
            any = true;
            match news {
                OwnedNotification::Idle => idle = true,
                OwnedNotification::Active => idle = false,
                OwnedNotification::Rejoin(id) => {
                    tracing::info!(bump = id.bump, "peers thought this node down; it has returned");
                    self.start_over();
                }
                OwnedNotification::MemberUp(id) => tracing::debug!(peer = %id.node, "peer is up"),
                OwnedNotification::MemberDown(id) => {
                    tracing::info!(peer = %id.node, "peer is down")
                }
                OwnedNotification::Rename(..) | OwnedNotification::Defunct => {}
            }
        }
        self.refresh(now);
        if idle {
            self.rebuild();
        }
        if any {
            self.resize();
            self.arm_announcer(now);
        }
        if !self.spreading && self.foca.updates_backlog() > 0 && self.foca.num_members() > 0 {
            self.spreading = true;
            self.timers.push(now + SPREAD, Due::Spread);
        }
    }

    /// Notes what foca does by the packets that it sends; see [`super::codec`] for the layout.
    fn watch_outgoing(&mut self, to: &Identity, packet: &[u8]) {
        const PING: u8 = 1;
        const PING_REQUEST: u8 = 3;
        let [kind, high, low, number, ..] = *packet else { return };
        let refutations = u16::from_be_bytes([high, low]);
        if refutations > self.refutations {
            self.refutations = refutations;
            self.health.note(Sign::Suspected);
        }
        if kind == PING {
            self.probe = Some(Probe::new(*to, number));
        } else if kind == PING_REQUEST
            && self.known(to.node).is_some_and(|helper| helper.state() == State::Alive)
            && let Some(probe) = self.probe.as_mut()
        {
            probe.asked();
        }
    }

    /// Gives foca's timers their real times.
    fn schedule(&mut self, now: Instant, after: Duration, timer: Timer<Identity>) {
        let due = match &timer {
            Timer::SendIndirectProbe { probed_id, .. } => {
                let patience = self.config.probe_timeout.max(3 * self.round_trip(probed_id.node));
                self.patience = self.health.stretch(patience);
                now + self.patience
            }
            Timer::ProbeRandomMember(_) => {
                let interval = self.health.stretch(self.config.probe_interval);
                now + interval.max(self.patience * 2 + self.patience / 2)
            }
            Timer::ChangeSuspectToDown { member_id, incarnation, .. } => {
                let node = member_id.node;
                let known = self.suspicions.get(&node);
                if known.is_some_and(|s| s.of == *member_id && s.refutations == *incarnation) {
                    // The first failed probe counts; its timer still runs.
                    return;
                }
                let suspicion = Suspicion { of: *member_id, refutations: *incarnation, since: now };
                self.suspicions.insert(node, suspicion);
                self.timers.push(now, Due::TellSuspect(node));
                now + self.health.stretch(self.objection_time(node))
            }
            Timer::RemoveDown(_)
            | Timer::PeriodicAnnounce(_)
            | Timer::PeriodicAnnounceDown(_)
            | Timer::PeriodicGossip(_) => now + after,
        };
        self.timers.push(due, Due::Foca(timer));
    }

    /// News has to be repeated more often in a larger cluster.
    fn resize(&mut self) {
        let wanted = transmissions(self.foca.num_members());
        if self.foca_config.max_transmissions != wanted {
            self.foca_config.max_transmissions = wanted;
            let resized = self.foca.set_config(self.foca_config.clone());
            debug_assert!(resized.is_ok(), "only the number of transmissions changed");
        }
    }

    /// Brings the view up to what foca believes.
    fn refresh(&mut self, now: Instant) {
        let me = self.me().node;
        for member in self.foca.iter_membership_state().filter(|member| member.id().node != me) {
            let liveness = match member.state() {
                State::Alive => Liveness::Alive,
                State::Suspect => Liveness::Suspect,
                State::Down => Liveness::Down,
            };
            let id = member.id();
            self.members.note(id.node, id.addr, id.incarnation, liveness, now);
        }
    }

    /// This node lost everybody, so more likely it was cut off itself: it must not spread its opinion of
    /// the others when it is back. The view keeps them as down until they are heard again.
    fn rebuild(&mut self) {
        let Some(identity) = self.me().above(self.me().bump) else { return };
        self.seed = self.seed.wrapping_add(1);
        let rng = StdRng::seed_from_u64(self.seed);
        self.foca = Foca::new(identity, self.foca_config.clone(), rng, WireCodec);
        self.runtime = AccumulatingRuntime::new();
        self.timers.retain(|due| !matches!(due, Due::Foca(_) | Due::Spread));
        self.spreading = false;
        self.start_over();
    }
}

impl fmt::Debug for Swim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Swim")
            .field("me", self.me())
            .field("health", &self.health)
            .field("probe", &self.probe)
            .field("suspicions", &self.suspicions)
            .finish_non_exhaustive()
    }
}
