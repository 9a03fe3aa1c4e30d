//! Stands in for the `base2histogram` crate that openraft counts batch sizes with: the published one
//! fills lookup tables for sixteen precisions at its first use, 25 MB that a small board has better
//! use for. Same interface as far as openraft uses it; buckets are computed instead of looked up.

mod chart;

use std::fmt;
use std::marker::PhantomData;

pub use chart::AsciiChart;

/// Buckets to each power of two: values are told apart to 25 %.
const PER_OCTAVE: u64 = 4;
/// Bits of the position within an octave.
const WITHIN_BITS: u32 = PER_OCTAVE.trailing_zeros();
/// Buckets that cover all of `u64`.
const BUCKETS: usize = 252;

/// Counts values in buckets that widen with the value. `T` is of no meaning here.
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    /// Allocated with the first value.
    counts: Vec<u64>,
    total: u64,
    slots: PhantomData<T>,
}

/// What a histogram says in nine numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PercentileStats {
    /// Values counted.
    pub samples: u64,
    /// The value that 0.1 % do not exceed.
    pub p0_1: u64,
    /// 1 %.
    pub p1: u64,
    /// 5 %.
    pub p5: u64,
    /// 10 %.
    pub p10: u64,
    /// The median.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, p50, p90, p99, p99_9, .. } = self;
        write!(f, "{samples} samples, p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p99_9}")
    }
}

/// The bucket of `value`: itself below [`PER_OCTAVE`], then so many to each power of two.
fn bucket(value: u64) -> usize {
    if value < PER_OCTAVE {
        return usize::try_from(value).unwrap_or(0);
    }
    let octave = value.ilog2() - WITHIN_BITS;
    let within = (value >> octave) & (PER_OCTAVE - 1);
    usize::try_from(PER_OCTAVE * u64::from(octave + 1) + within).unwrap_or(BUCKETS - 1)
}

/// The smallest value of a bucket.
fn floor(bucket: usize) -> u64 {
    let bucket = u64::try_from(bucket).unwrap_or(u64::MAX);
    if bucket < PER_OCTAVE {
        return bucket;
    }
    let octave = bucket / PER_OCTAVE - 1;
    (PER_OCTAVE + bucket % PER_OCTAVE) << octave
}

impl<T> Histogram<T> {
    /// An empty histogram.
    pub const fn new() -> Self {
        Self { counts: Vec::new(), total: 0, slots: PhantomData }
    }

    /// Counts `value` once.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts `value` `times` times.
    pub fn record_n(&mut self, value: u64, times: u64) {
        if self.counts.is_empty() {
            self.counts = vec![0; BUCKETS];
        }
        let count = &mut self.counts[bucket(value)];
        *count = count.saturating_add(times);
        self.total = self.total.saturating_add(times);
    }

    /// Values counted.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The value that `permille` thousandths do not exceed, as its bucket's smallest; 0 when empty.
    fn at_permille(&self, permille: u64) -> u64 {
        let rank = (u128::from(self.total) * u128::from(permille)).div_ceil(1000).max(1);
        let mut seen = 0u128;
        for (index, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if seen >= rank {
                return floor(index);
            }
        }
        0
    }

    /// The usual percentiles.
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total,
            p0_1: self.at_permille(1),
            p1: self.at_permille(10),
            p5: self.at_permille(50),
            p10: self.at_permille(100),
            p50: self.at_permille(500),
            p90: self.at_permille(900),
            p99: self.at_permille(990),
            p99_9: self.at_permille(999),
        }
    }

    /// The buckets that hold something: their smallest value and their count.
    fn filled(&self) -> impl Iterator<Item = (u64, u64)> {
        let filled = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        filled.map(|(index, count)| (floor(index), *count))
    }
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Histogram<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.filled()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket() {
        for shift in 0..64 {
            for near in [0u64, 1, 2] {
                let value = (1u64 << shift).saturating_add(near);
                let index = bucket(value);
                assert!(index < BUCKETS, "{value}");
                assert!(floor(index) <= value, "{value}");
                assert!(index + 1 == BUCKETS || floor(index + 1) > value, "{value}");
            }
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile_stats().p50, 0);
        for value in 0..100 {
            histogram.record(value);
        }
        histogram.record_n(1_000_000, 1);
        let stats = histogram.percentile_stats();
        assert_eq!(stats.samples, 101);
        assert_eq!((stats.p0_1, stats.p1, stats.p50), (0, 1, 48));
        assert_eq!(stats.p99_9, floor(bucket(1_000_000)));
    }
}
