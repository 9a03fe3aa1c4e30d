//! Who is alive: SWIM by foca, with Lifeguard's self-doubt around it. Sans-IO: packets (`inbox`) and time in,
//! packets and deadlines (`settle`) out.
//!
//! Added around foca: time stretches with this node's health ([`super::health`]), stands still while the
//! process does not run ([`super::timers`]), suspects are told directly and heard out, a restarted node learns
//! at once which life it has to beat, and a node that lost everybody forgets what it thought of them.

mod announce;
mod exchange;
mod inbox;
mod settle;

use std::collections::BTreeMap;
use std::fmt;
use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

use bytes::Bytes;
use foca::{AccumulatingRuntime, Foca, NoCustomBroadcast, State, Timer};
use rand::SeedableRng;
use rand::rngs::StdRng;
use swarm_model::id::NodeId;
use tokio::time::Instant;

use super::codec::WireCodec;
use super::config::GossipConfig;
use super::health::{LocalHealth, Sign};
use super::identity::Identity;
use super::members::Members;
use super::probe::{Probe, Suspicion};
use super::timers::Timers;
use announce::Announcer;
pub(crate) use exchange::Record;

/// The largest packet of foca's; around it comes a frame of less than a hundred bytes.
const MAX_PACKET: usize = 1024;
/// Helpers of a failed probe, and receivers of each round of news.
const FANOUT: usize = 3;
/// A suspect is told again each time this has passed.
const TELL_SUSPECT: Duration = Duration::from_millis(200);
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
