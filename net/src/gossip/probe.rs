//! The one probe that is under way, and the suspicions that follow from failed ones.
//!
//! foca runs the protocol; this only watches what passes, to judge this node's own health and to give a
//! suspected node the time that is due to it.

use std::time::Duration;

use tokio::time::Instant;

use super::health::{LocalHealth, Sign};
use super::identity::Identity;

/// A suspected node that is still heard of gets this many times the usual time to object.
const DOUBT: u32 = 3;

/// One round: a ping, and helpers when it is not answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probe {
    pub(crate) target: Identity,
    pub(crate) number: u8,
    asked: u32,
    heard: u32,
    answered: bool,
}

impl Probe {
    pub(crate) fn new(target: Identity, number: u8) -> Self {
        Self { target, number, asked: 0, heard: 0, answered: false }
    }

    /// A helper that seems alive was asked to try.
    pub(crate) fn asked(&mut self) {
        self.asked += 1;
    }

    /// A helper says that it got the request.
    pub(crate) fn heard(&mut self, number: u8) {
        if number == self.number {
            self.heard = (self.heard + 1).min(self.asked);
        }
    }

    pub(crate) fn answered(&mut self) {
        self.answered = true;
    }

    /// What the round, now over, says about this node.
    pub(crate) fn sign(&self) -> Sign {
        if self.answered {
            Sign::ProbeAnswered
        } else {
            Sign::ProbeFailed { silent: self.asked - self.heard }
        }
    }
}

/// A node that did not answer, and since when it may object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Suspicion {
    pub(crate) of: Identity,
    pub(crate) refutations: u16,
    pub(crate) since: Instant,
}

impl Suspicion {
    /// When to believe it: `patience`, longer for a node in bad health, longer if the suspect was heard.
    pub(crate) fn believed_at(
        &self,
        patience: Duration,
        health: LocalHealth,
        heard: Option<Instant>,
    ) -> Instant {
        let usual = health.stretch(patience);
        let doubtful = heard.is_some_and(|heard| heard > self.since);
        self.since + if doubtful { usual.max(patience * DOUBT) } else { usual }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use swarm_model::id::NodeId;

    fn target() -> Identity {
        Identity::unknown(NodeId::from_raw(1), SocketAddr::from(([127, 0, 0, 1], 1)))
    }

    #[test]
    fn helpers_that_got_the_request_clear_this_node_of_blame() {
        let mut probe = Probe::new(target(), 7);
        probe.asked();
        probe.asked();
        probe.heard(6);
        assert_eq!(probe.sign(), Sign::ProbeFailed { silent: 2 });
        for _ in 0..3 {
            probe.heard(7);
        }
        assert_eq!(probe.sign(), Sign::ProbeFailed { silent: 0 });
        probe.answered();
        assert_eq!(probe.sign(), Sign::ProbeAnswered);
    }

    #[tokio::test(start_paused = true)]
    async fn a_suspect_gets_more_time_from_a_sick_judge_and_when_it_was_heard() {
        let since = Instant::now();
        let second = Duration::from_secs(1);
        let suspicion = Suspicion { of: target(), refutations: 0, since };
        let mut health = LocalHealth::default();
        assert_eq!(suspicion.believed_at(second, health, Some(since)), since + second);
        let heard = Some(since + second / 2);
        assert_eq!(suspicion.believed_at(second, health, heard), since + 3 * second);
        health.note(Sign::Stalled);
        assert_eq!(suspicion.believed_at(second, health, None), since + 2 * second);
    }
}
