//! How often gossip probes, and how long it waits before it believes in a death.
//!
//! The defaults suit a LAN; what depends on the links is scaled by the measured round-trip times.

use std::time::Duration;

/// Gossip's timings. All are lower bounds: a slow link or a starved node stretches them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GossipConfig {
    /// One random peer is probed each time this has passed.
    pub probe_interval: Duration,
    /// An answer that takes longer makes others probe too; at least three round trips.
    pub probe_timeout: Duration,
    /// A suspected node has this long to object before it is declared down.
    pub suspicion: Duration,
    /// Two nodes compare everything they know each time this has passed, give or take a fifth.
    pub sync_interval: Duration,
    /// The longest wait between two attempts to reach a known peer that is not alive.
    pub announce_interval: Duration,
    /// Published values wait at most this long for more to travel with.
    pub batch: Duration,
}

impl Default for GossipConfig {
    fn default() -> Self {
        Self {
            probe_interval: Duration::from_millis(500),
            probe_timeout: Duration::from_millis(200),
            suspicion: Duration::from_secs(1),
            sync_interval: Duration::from_secs(10),
            announce_interval: Duration::from_secs(3),
            batch: Duration::from_millis(50),
        }
    }
}
