//! Several histograms below each other, as text.

use std::fmt;

use crate::Histogram;

/// Histograms with their names.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart {
    series: Vec<(String, Histogram)>,
}

impl AsciiChart {
    /// An empty chart.
    pub const fn new() -> Self {
        Self { series: Vec::new() }
    }

    /// Adds a histogram.
    #[must_use]
    pub fn add(mut self, name: &str, histogram: Histogram) -> Self {
        self.series.push((name.to_owned(), histogram));
        self
    }

    /// The chart as text: a line for each bucket that holds something.
    pub const fn detailed(&self) -> &impl fmt::Display {
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, histogram) in &self.series {
            writeln!(f, "{name}: {} samples", histogram.total())?;
            for (from, count) in histogram.filled() {
                writeln!(f, "  {from:>12}: {count}")?;
            }
        }
        Ok(())
    }
}
