//! Reaching peers that should be there and are not alive: at the start, after a partition, after a restart.
//!
//! Each round announces this node to a few of them; the pause between rounds doubles up to a limit.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rand::prelude::IteratorRandom;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use swarm_model::id::NodeId;
use tokio::time::Instant;

use super::{Due, FANOUT, Identity, Swim};

const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Known peers and the pause until the next round.
#[derive(Debug)]
pub(super) struct Announcer {
    seeds: BTreeMap<NodeId, SocketAddr>,
    pause: Duration,
    longest: Duration,
    armed: bool,
    rng: StdRng,
}

impl Announcer {
    pub(super) fn new(longest: Duration, seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed.rotate_left(32));
        Self { seeds: BTreeMap::new(), pause: FIRST_PAUSE, longest, armed: false, rng }
    }

    /// How to address a peer of which nothing but the address is known.
    pub(super) fn seed(&self, node: NodeId) -> Option<Identity> {
        self.seeds.get(&node).map(|addr| Identity::unknown(node, *addr))
    }

    /// The next round comes soon again.
    pub(super) fn restart(&mut self) {
        self.pause = FIRST_PAUSE;
    }

    pub(super) fn remove(&mut self, node: NodeId) {
        self.seeds.remove(&node);
    }
}

impl Swim {
    /// The peers that should be there, as the member list says; replaces the earlier list.
    pub(crate) fn seed_peers(&mut self, now: Instant, peers: Vec<(NodeId, SocketAddr)>) {
        let me = self.me().node;
        let wanted = |(node, _): &(NodeId, _)| *node != me && !self.members.is_forgotten(*node);
        self.announcer.seeds = peers.into_iter().filter(wanted).collect();
        let patience = self.config.probe_interval + 2 * self.config.suspicion;
        for (node, addr) in self.announcer.seeds.clone() {
            if self.members.expect(node, addr, now) {
                self.timers.push(now + patience, Due::GiveUp(node));
                self.announcer.restart();
                if self.announcer.armed {
                    self.timers.retain(|due| !matches!(due, Due::Announce));
                    self.announcer.armed = false;
                }
            }
        }
        if !self.announcer.armed {
            self.announce(now);
        }
    }

    /// The seeds that are not alive, in the identity to address them by.
    fn absent(&self) -> Vec<Identity> {
        let seeds = self.announcer.seeds.keys();
        let absent = |node: &NodeId| match self.known(*node) {
            Some(member) if member.state() == foca::State::Down => Some(*member.id()),
            Some(_) => None,
            None => self.announcer.seed(*node),
        };
        seeds.filter_map(absent).collect()
    }

    /// One round, and the next one's timer while somebody is missing.
    pub(super) fn announce(&mut self, now: Instant) {
        // Settling must not plan a round while this one runs.
        self.announcer.armed = true;
        let absent = self.absent();
        for peer in absent.into_iter().sample(&mut self.announcer.rng, FANOUT) {
            let announced = self.foca.announce(peer, &mut self.runtime);
            self.settle(now, announced);
        }
        self.announcer.armed = false;
        self.announcer.pause = (self.announcer.pause * 2).min(self.announcer.longest);
        self.arm_announcer(now);
    }

    /// Plans the next round if somebody is missing and none is planned.
    pub(super) fn arm_announcer(&mut self, now: Instant) {
        if self.announcer.armed || self.absent().is_empty() {
            return;
        }
        self.announcer.armed = true;
        let jitter = self.announcer.rng.random_range(0.8..1.2);
        self.timers.push(now + self.announcer.pause.mul_f64(jitter), Due::Announce);
    }
}
