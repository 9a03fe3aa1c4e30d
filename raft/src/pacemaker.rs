//! Raft's timers: heartbeats while this node leads, a campaign when its leader has been silent for a
//! whole lease. openraft's own ticker is off: it wakes five times a heartbeat and waits a second,
//! random time after the lease.
//!
//! Campaigns begin with a pre-vote, so that a wrong guess costs nothing. Voters take turns: the lowest
//! id starts when the lease runs out, the next one a stagger later.

use std::sync::Arc;
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::watch::WatchReceiver;
use swarm_state::mistake::{Mistake, planted};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::contact::Contact;
use crate::gate::Gate;
use crate::service::Raft;
use crate::timing::Timing;
use crate::types::Id;

/// The clocks of two nodes' leases differ by the time that messages and wake-ups take.
const LEASE_SLACK: Duration = Duration::from_millis(10);
/// After this many vain campaigns in a row the wait between them no longer grows.
const MAX_DOUBLINGS: u32 = 6;

/// Drives one node's part in elections.
pub(crate) struct Pacemaker {
    pub(crate) raft: Raft,
    pub(crate) timing: Timing,
    pub(crate) contact: Contact,
    pub(crate) hint: Arc<Notify>,
    pub(crate) gate: Gate,
    pub(crate) random: Random,
    pub(crate) cancel: CancellationToken,
}

/// What a node has to do, by what openraft says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Duty {
    /// Send heartbeats.
    Lead,
    /// Campaign when the leader is silent; the rank says after how many others.
    Watch { rank: u32 },
    /// Nobody else votes: be the leader.
    Rule,
    /// Nothing: no vote, or nobody to talk to.
    Rest,
}

impl Pacemaker {
    /// Runs until cancelled, or until openraft has stopped.
    pub(crate) async fn run(mut self) {
        let cancel = self.cancel.clone();
        tokio::select! {
            () = cancel.cancelled() => {}
            () = self.beat() => {}
        }
    }

    async fn beat(&mut self) {
        let mut server = self.raft.server_metrics();
        let mut vain = 0;
        let mut was = Duty::Rest;
        let mut wake = Instant::now();
        loop {
            // While the replica takes no part there is nothing to drive; it never leads then.
            self.gate.opened().await;
            let duty = duty(&server.borrow_watched());
            if duty != was {
                if was == Duty::Lead {
                    // A deposed leader waits as long as everyone else.
                    self.contact.touch();
                }
                was = duty;
                vain = 0;
                wake = self.first_wake(duty);
            }
            tokio::select! {
                biased;
                changed = server.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = self.hint.notified() => {
                    vain = 0;
                    wake = wake.min(self.first_wake(duty).max(Instant::now()));
                }
                () = sleep_until(wake), if duty != Duty::Rest => {
                    if !self.gate.is_open() {
                        continue;
                    }
                    let Some(next) = self.act(duty, wake, &mut vain).await else { return };
                    wake = next;
                }
            }
        }
    }

    /// When a new duty is due for the first time.
    fn first_wake(&mut self, duty: Duty) -> Instant {
        match duty {
            Duty::Lead | Duty::Rule | Duty::Rest => Instant::now(),
            Duty::Watch { rank } => self.lease_end(rank),
        }
    }

    /// When this node may campaign, going by the last contact with a leader.
    fn lease_end(&mut self, rank: u32) -> Instant {
        let jitter = self.random.up_to(self.timing.stagger / 4);
        let lease = self.timing.election_max + LEASE_SLACK;
        self.contact.last() + lease + self.timing.stagger * rank + jitter
    }

    /// Does what is due and says when to come again; `None` when openraft has stopped.
    async fn act(&mut self, duty: Duty, due: Instant, vain: &mut u32) -> Option<Instant> {
        match duty {
            Duty::Rest => Some(due),
            Duty::Lead => {
                self.raft.trigger().heartbeat().await.ok()?;
                // Beats that were missed are not made up for.
                Some((due + self.timing.heartbeat).max(Instant::now()))
            }
            Duty::Rule => {
                self.raft.trigger().elect(true).await.ok()?;
                Some(Instant::now() + self.retry(vain))
            }
            Duty::Watch { rank } => {
                let lease_end = self.lease_end(rank);
                // A contact since then has moved the end of the lease.
                if self.contact.last() + self.timing.election_max > Instant::now() {
                    *vain = 0;
                    return Some(lease_end);
                }
                tracing::debug!(vain, "the leader is silent: campaigning");
                self.raft.trigger().elect(!planted(Mistake::NoPreVote)).await.ok()?;
                Some(Instant::now() + self.retry(vain))
            }
        }
    }

    /// The wait after a vain campaign: it doubles, so that a minority does not burn its battery.
    fn retry(&mut self, vain: &mut u32) -> Duration {
        let doubled = self.timing.stagger * 2u32.pow((*vain).min(MAX_DOUBLINGS));
        *vain = vain.saturating_add(1);
        doubled.min(2 * self.timing.election_max) + self.random.up_to(self.timing.stagger)
    }
}

fn duty(server: &openraft::metrics::RaftServerMetrics<crate::types::Types>) -> Duty {
    let membership = server.membership_config.membership();
    let alone = membership.nodes().all(|(id, ())| *id == server.id);
    let mut voters: Vec<Id> = membership.voter_ids().collect();
    voters.sort_unstable();
    voters.dedup();
    match server.state {
        ServerState::Leader if alone => Duty::Rest,
        ServerState::Leader => Duty::Lead,
        ServerState::Shutdown | ServerState::Learner => Duty::Rest,
        ServerState::Follower | ServerState::Candidate => {
            if !voters.contains(&server.id) {
                return Duty::Rest;
            }
            if voters.len() == 1 {
                return Duty::Rule;
            }
            let before_me = |id: &&Id| **id < server.id && Some(**id) != server.current_leader;
            let rank = voters.iter().filter(before_me).count();
            Duty::Watch { rank: u32::try_from(rank).unwrap_or(u32::MAX) }
        }
    }
}

/// A small generator for jitter, seeded so that a simulation replays (SplitMix64, Steele et al. 2014).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A span below `limit`, or none for no limit.
    fn up_to(&mut self, limit: Duration) -> Duration {
        let micros = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.next() % micros)
    }
}
