//! What foca wants after each call into it: packets sent, timers set to their real times, news learned.
//!
//! It does not decide when foca is called: see `membership` for timers, `inbox` for packets.

use std::time::Duration;

use foca::{AccumulatingRuntime, Foca, OwnedNotification, State, Timer};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::time::Instant;

use super::{Due, Mail, Swim, transmissions};
use crate::gossip::codec::WireCodec;
use crate::gossip::health::Sign;
use crate::gossip::identity::Identity;
use crate::gossip::members::Liveness;
use crate::gossip::probe::{Probe, Suspicion};

/// News goes out each time this has passed, while there is any.
const SPREAD: Duration = Duration::from_millis(100);

impl Swim {
    /// After each call into foca: passes on what it wants sent, schedules its timers, learns its news.
    pub(super) fn settle(&mut self, now: Instant, result: Result<(), foca::Error>) {
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

    /// Notes what foca does by the packets that it sends; see [`crate::gossip::codec`] for the layout.
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
