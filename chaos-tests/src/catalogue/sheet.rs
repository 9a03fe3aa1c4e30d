//! What a run says: what was injected, what was checked, and the figures with their limits.
#![expect(clippy::print_stdout, reason = "what it prints is what a run is for")]

use std::collections::BTreeMap;
use std::time::Duration;

use crate::real::Stopwatch;

/// One measured number against its limit.
#[derive(Debug, Clone)]
pub struct Figure {
    /// What was measured.
    pub what: String,
    /// What it came to.
    pub value: String,
    /// What it must be; empty when it only informs.
    pub limit: String,
    /// Whether it is.
    pub met: bool,
}

/// The sheet of one run. Prints what happens as it happens.
#[derive(Debug)]
pub struct Sheet {
    watch: Stopwatch,
    injected: BTreeMap<String, u64>,
    figures: Vec<Figure>,
}

impl Default for Sheet {
    fn default() -> Self {
        Self { watch: Stopwatch::start(), injected: BTreeMap::new(), figures: Vec::new() }
    }
}

impl Sheet {
    /// Prints a line.
    pub fn say(&self, text: impl AsRef<str>) {
        println!("[{:>7.1} s] {}", self.watch.elapsed().as_secs_f64(), text.as_ref());
    }

    /// Notes that so many faults of a kind happened.
    pub fn injected(&mut self, what: &str, count: u64) {
        *self.injected.entry(what.to_owned()).or_default() += count;
    }

    /// Faults that happened, by kind.
    pub fn faults(&self) -> &BTreeMap<String, u64> {
        &self.injected
    }

    /// Notes a figure.
    pub fn figure(&mut self, what: &str, value: String, limit: String, met: bool) {
        let figure = Figure { what: what.to_owned(), value, limit, met };
        self.say(figure.line());
        self.figures.push(figure);
    }

    /// Notes something worth knowing that has no limit.
    pub fn fact(&mut self, what: &str, value: String) {
        self.figure(what, value, String::new(), true);
    }

    /// Notes a span that must not be longer than `limit`.
    pub fn at_most(&mut self, what: &str, span: Duration, limit: Duration) {
        let show = |span: Duration| format!("{} ms", span.as_millis());
        self.figure(what, show(span), format!("≤ {}", show(limit)), span <= limit);
    }

    /// Notes a number that must not be higher than `limit`.
    pub fn no_more(&mut self, what: &str, number: u64, limit: u64) {
        self.figure(what, number.to_string(), format!("≤ {limit}"), number <= limit);
    }

    /// Notes a share of `whole` in percent that must not be lower than `limit`.
    pub fn share(&mut self, what: &str, part: usize, whole: usize, limit: f64) {
        let count = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
        let percent = if whole == 0 { 0.0 } else { 100.0 * count(part) / count(whole) };
        let value = format!("{percent:.1} % ({part} of {whole})");
        self.figure(what, value, format!("≥ {limit} %"), percent >= limit);
    }

    /// Takes over what another sheet has.
    pub fn merge(&mut self, other: Sheet) {
        for (what, count) in other.injected {
            self.injected(&what, count);
        }
        self.figures.extend(other.figures);
    }

    /// Figures over their limits.
    pub fn missed(&self) -> Vec<&Figure> {
        self.figures.iter().filter(|figure| !figure.met).collect()
    }

    /// Prints the whole sheet.
    pub fn print(&self) {
        for (what, count) in &self.injected {
            println!("  injected {count} × {what}");
        }
        for figure in &self.figures {
            println!("  {}", figure.line());
        }
    }
}

impl Figure {
    fn line(&self) -> String {
        let Self { what, value, limit, met } = self;
        match (limit.is_empty(), met) {
            (true, _) => format!("{what}: {value}"),
            (false, true) => format!("{what}: {value} ({limit})"),
            (false, false) => format!("{what}: {value} (NOT {limit})"),
        }
    }
}

/// The value below which `percent` of the spans are.
pub fn percentile(spans: &[Duration], percent: usize) -> Duration {
    let mut sorted = spans.to_vec();
    sorted.sort();
    let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(rank).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let spans: Vec<_> = (1..=60).map(Duration::from_millis).collect();
        assert_eq!(percentile(&spans, 95), Duration::from_millis(57));
        assert_eq!(percentile(&spans, 50), Duration::from_millis(30));
        assert_eq!(percentile(&spans[..1], 95), Duration::from_millis(1));
        assert_eq!(percentile(&[], 95), Duration::ZERO);
    }

    #[test]
    fn figures_over_their_limits_are_missed() {
        let mut sheet = Sheet::default();
        sheet.no_more("changes", 2, 2);
        sheet.share("writes", 19, 20, 95.0);
        assert!(sheet.missed().is_empty());
        sheet.at_most("outage", Duration::from_secs(3), Duration::from_secs(2));
        sheet.share("writes", 0, 0, 95.0);
        assert_eq!(sheet.missed().len(), 2);
    }
}
