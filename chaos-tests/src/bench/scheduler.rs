//! Placements a second of the pure scheduler, 10,000 tasks on 1,000 nodes.

use anyhow::Result;
use swarm_control::bench::placements;

use super::report::{Report, Row};
use super::samples::median;
use crate::real::Stopwatch;

const TARGET: f64 = 50_000.0;

/// Adds the row.
pub(super) fn run(runs: usize, report: &mut Report) -> Result<()> {
    let watch = Stopwatch::start();
    let mut figures = Vec::new();
    for _ in 0..runs {
        figures.push(placements(1_000, 10_000, &mut || watch.elapsed())?.per_second());
    }
    let figure = median(&figures);
    report.add(Row {
        what: "scheduler, 10,000 tasks on 1,000 nodes".to_owned(),
        figure: format!("{figure:.0} placements/s"),
        target: format!("≥ {TARGET:.0}/s"),
        met: Some(figure >= TARGET),
        ..Row::default()
    });
    Ok(())
}
