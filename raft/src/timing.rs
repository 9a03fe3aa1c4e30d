//! How long the cluster waits for its leader. Only numbers; the waiting is in the pacemaker.

use std::time::Duration;

/// The waits of one cluster; every voter should have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How often a leader says that it leads.
    pub heartbeat: Duration,
    /// How long one vote request may take.
    pub election_min: Duration,
    /// The leader's lease: nobody campaigns before it has been silent for that long.
    pub election_max: Duration,
    /// How far apart voters start to campaign when the lease has run out, one after the other.
    pub stagger: Duration,
}

impl Timing {
    /// For nodes that reach each other in a few milliseconds.
    ///
    /// A lost leader is replaced 0.5 to 0.8 s after it was lost. A leader must stall for half a
    /// second to lose the lead, which a busy two-core machine does not make it do. Heartbeats are
    /// what an idle node spends most on, so there are no more of them than that needs.
    pub const LAN: Self = Self {
        heartbeat: Duration::from_millis(300),
        election_min: Duration::from_millis(400),
        election_max: Duration::from_millis(800),
        stagger: Duration::from_millis(80),
    };

    /// For links whose round trips take up to `slow` (their 99th percentile): never faster than
    /// [`Timing::LAN`], and ten round trips of patience.
    pub fn for_round_trip(slow: Duration) -> Self {
        let lan = Self::LAN;
        let election_max = lan.election_max.max(10 * slow);
        Self {
            heartbeat: lan.heartbeat.max(election_max * 3 / 8),
            election_min: election_max / 2,
            election_max,
            stagger: lan.stagger.max(3 * slow),
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::LAN
    }
}

/// `span` in whole milliseconds, as openraft takes it.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_links_get_ten_round_trips_of_patience() {
        assert_eq!(Timing::for_round_trip(Duration::from_millis(2)), Timing::LAN);
        let slow = Timing::for_round_trip(Duration::from_millis(200));
        assert_eq!(slow.election_max, Duration::from_secs(2));
        assert!(slow.heartbeat < slow.election_min && slow.election_min < slow.election_max);
    }
}
