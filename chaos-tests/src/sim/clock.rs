//! Simulated time and ids: the wall clock is tokio's paused clock, ids come from the seed.

use swarm_model::clock::Clock;
use swarm_model::id::IdSource;
use swarm_model::units::Timestamp;
use tokio::time::Instant;

use super::chance::Chance;

/// When simulations begin: the first of January 2026.
const EPOCH_MS: u64 = 1_767_225_600_000;

/// A wall clock that follows tokio's clock.
#[derive(Debug, Clone)]
pub struct SimClock {
    origin: Instant,
}

impl SimClock {
    /// A clock that shows the epoch now.
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Milliseconds since the start.
    pub fn millis(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(EPOCH_MS + self.millis())
    }
}

/// Ids from a seed.
#[derive(Debug)]
pub struct SeededIds(pub Chance);

impl IdSource for SeededIds {
    fn draw(&mut self) -> u128 {
        self.0.wide()
    }
}
