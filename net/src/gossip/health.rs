//! How far this node can trust its own judgement: Lifeguard's local health.
//!
//! A starved or cut-off node hears nothing and would blame everybody else. Signs that the fault is here
//! raise a score; the score stretches the node's own probes and suspicions, never those of others.
//! Source: Dadgar, Phillips, Currey, "Lifeguard: SWIM-ing with Situational Awareness" (2018).

use std::time::Duration;

/// The paper's S: at worst, everything takes nine times as long.
const MAX_SCORE: u32 = 8;

/// Something that says how well this node itself does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// A probe was answered.
    ProbeAnswered,
    /// A probe failed; of the helpers asked, so many did not even say that they were.
    ProbeFailed { silent: u32 },
    /// Others suspected this node, so its own messages came late or not at all.
    Suspected,
    /// This process did not run when it should have.
    Stalled,
}

/// The score: 0 is healthy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LocalHealth {
    score: u32,
}

impl LocalHealth {
    pub(crate) fn note(&mut self, sign: Sign) {
        let score = match sign {
            Sign::ProbeAnswered => self.score.saturating_sub(1),
            // Helpers that heard us show that the fault is not here; without helpers, nothing is shown.
            Sign::ProbeFailed { silent } => self.score + silent,
            Sign::Suspected | Sign::Stalled => self.score + 1,
        };
        self.score = score.min(MAX_SCORE);
    }

    /// `time`, for a node of this health.
    pub(crate) fn stretch(self, time: Duration) -> Duration {
        time * (1 + self.score)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_dead_peer_is_no_reason_for_self_doubt() {
        let mut health = LocalHealth::default();
        for _ in 0..10 {
            health.note(Sign::ProbeFailed { silent: 0 });
        }
        assert_eq!(health.stretch(SECOND), SECOND);
    }

    #[test]
    fn silence_all_around_stretches_time_up_to_a_limit_and_answers_relax_it() {
        let mut health = LocalHealth::default();
        health.note(Sign::ProbeFailed { silent: 3 });
        assert_eq!(health.stretch(SECOND), 4 * SECOND);
        for _ in 0..10 {
            health.note(Sign::Stalled);
            health.note(Sign::Suspected);
        }
        assert_eq!(health.stretch(SECOND), 9 * SECOND);
        for _ in 0..8 {
            health.note(Sign::ProbeAnswered);
        }
        assert_eq!(health, LocalHealth::default());
    }
}
