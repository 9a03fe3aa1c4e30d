//! Real time and real randomness: the only place of the node that asks the operating system.

use std::time::SystemTime;

use rand::Rng;
use swarm_model::clock::Clock;
use swarm_model::id::IdSource;
use swarm_model::units::Timestamp;

/// The machine's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the Clock that the rest is given")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let millis = since_epoch.unwrap_or_default().as_millis();
        Timestamp::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

/// Ids from the operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomIds;

impl IdSource for RandomIds {
    fn draw(&mut self) -> u128 {
        let mut random = rand::rng();
        (u128::from(random.next_u64()) << 64) | u128::from(random.next_u64())
    }
}
