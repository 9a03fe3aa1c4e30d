//! Seeded choices. Each user gets a generator of its own, so that one more choice here changes
//! nothing there.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A seeded generator.
#[derive(Debug)]
pub struct Chance(StdRng);

impl Chance {
    /// The generator of `user` in run `seed`.
    pub fn new(seed: u64, user: &str) -> Self {
        // FNV-1a over the name.
        let named = user.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(StdRng::seed_from_u64(named))
    }

    /// 64 bits.
    pub fn word(&mut self) -> u64 {
        self.0.random()
    }

    /// 128 bits.
    pub fn wide(&mut self) -> u128 {
        self.0.random()
    }

    /// A number of `low..=high`.
    pub fn between(&mut self, low: u32, high: u32) -> u32 {
        self.0.random_range(low..=high)
    }

    /// A span of `low..=high` milliseconds.
    pub fn millis(&mut self, low: u32, high: u32) -> Duration {
        Duration::from_millis(u64::from(self.between(low, high)))
    }

    /// Whether something happens that does in `percent` of a hundred cases.
    pub fn percent(&mut self, percent: u32) -> bool {
        self.between(1, 100) <= percent
    }

    /// One of `items`.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() { None } else { items.get(self.0.random_range(0..items.len())) }
    }

    /// `items` in another order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.0.random_range(0..=at));
        }
    }
}
