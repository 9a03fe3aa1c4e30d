//! Measured spans and what they come to.

use std::fmt;
use std::time::Duration;

/// Spans of one kind.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more.
    pub fn push(&mut self, span: Duration) {
        self.0.push(span);
    }

    /// Those of another one too.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The middle one.
    pub fn median(&self) -> Duration {
        self.percentile(50)
    }

    /// The smallest span that `percent` of all do not exceed; zero when there are none.
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or_default()
    }

    /// The longest.
    pub fn worst(&self) -> Duration {
        self.0.iter().max().copied().unwrap_or_default()
    }
}

/// The middle of some figures; zero when there are none.
pub(super) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// A span as tables show it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span(pub(super) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_secs_f64() * 1000.0;
        if millis >= 1000.0 {
            write!(f, "{:.2} s", millis / 1000.0)
        } else if millis >= 10.0 {
            write!(f, "{millis:.0} ms")
        } else {
            write!(f, "{millis:.2} ms")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let mut samples = Samples::new();
        assert_eq!(samples.median(), Duration::ZERO);
        for millis in [5, 1, 4, 2, 3] {
            samples.push(Duration::from_millis(millis));
        }
        assert_eq!(samples.median(), Duration::from_millis(3));
        assert_eq!(samples.percentile(99), Duration::from_millis(5));
        assert_eq!(samples.percentile(1), Duration::from_millis(1));
        assert_eq!(samples.worst(), Duration::from_millis(5));
    }

    #[test]
    fn spans_are_shown_in_fitting_units() {
        let shown = |micros| Span(Duration::from_micros(micros)).to_string();
        assert_eq!(shown(1_234), "1.23 ms");
        assert_eq!(shown(45_600), "46 ms");
        assert_eq!(shown(1_234_567), "1.23 s");
    }
}
