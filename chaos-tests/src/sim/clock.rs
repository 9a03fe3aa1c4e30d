//! Simulated time and ids: the wall clock is tokio's paused clock, ids come from the seed.

use std::sync::atomic::{AtomicI64, Ordering};

use swarm_model::clock::Clock;
use swarm_model::id::IdSource;
use swarm_model::units::Timestamp;
use tokio::time::Instant;

use super::chance::Chance;

/// When simulations begin: the first of January 2026.
const EPOCH_MS: u64 = 1_767_225_600_000;

/// A wall clock that follows tokio's clock, by default right.
#[derive(Debug)]
pub struct SimClock {
    origin: Instant,
    wrong_by_ms: AtomicI64,
}

impl SimClock {
    /// A clock that shows the epoch now.
    pub fn start() -> Self {
        Self { origin: Instant::now(), wrong_by_ms: AtomicI64::new(0) }
    }

    /// Another one that is right now, as a machine of its own has.
    pub fn another(&self) -> Self {
        Self { origin: self.origin, wrong_by_ms: AtomicI64::new(0) }
    }

    /// Makes it wrong by so many milliseconds from now on.
    pub fn set(&self, wrong_by_ms: i64) {
        self.wrong_by_ms.store(wrong_by_ms, Ordering::Relaxed);
    }

    /// Microseconds since the start.
    pub fn micros(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Milliseconds since the start.
    pub fn millis(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let right = EPOCH_MS + self.millis();
        Timestamp::from_millis(
            right.saturating_add_signed(self.wrong_by_ms.load(Ordering::Relaxed)),
        )
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
