//! The pure scheduler: placements a second, and what single changes cost in a full cluster.

use std::time::Duration;

use anyhow::Result;
use swarm_control::bench::{placements, single};

use super::report::{Report, Row};
use super::samples::median;
use crate::real::Stopwatch;

/// Nodes, tasks and the least placements a second.
const SIZES: [(u32, u32, f64); 2] = [(1_000, 10_000, 100_000.0), (5_000, 150_000, 50_000.0)];
/// Nodes of the full cluster; 30 tasks on each.
const FULL: u32 = 5_000;
/// The most that one change may cost there.
const SINGLE_MOST: Duration = Duration::from_millis(1);
/// How often each single change is measured in one run.
const SINGLES: u32 = 20;

/// Adds the rows.
pub(super) fn run(runs: usize, report: &mut Report) -> Result<()> {
    let watch = Stopwatch::start();
    for (nodes, tasks, least) in SIZES {
        let mut figures = Vec::new();
        for _ in 0..runs {
            figures.push(placements(nodes, tasks, &mut || watch.elapsed())?.per_second());
        }
        let figure = median(&figures);
        report.add(Row {
            what: format!("scheduler, {tasks} tasks on {nodes} nodes"),
            figure: format!("{figure:.0} placements/s"),
            target: format!("≥ {least:.0}/s"),
            met: Some(figure >= least),
            ..Row::default()
        });
    }
    let count = SINGLES.saturating_mul(u32::try_from(runs).unwrap_or(u32::MAX));
    let times = single(FULL, count, &mut || watch.elapsed())?;
    for (what, times) in [
        ("one more task that fits on one node", times.fits),
        ("one more task that fits nowhere", times.waits),
        ("a task is seen running", times.runs),
        ("a task failed and is replaced", times.fails),
    ] {
        let millis: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1000.0).collect();
        let figure = median(&millis);
        report.add(Row {
            what: format!("scheduler, {FULL} full nodes: {what}"),
            figure: format!("{figure:.2} ms"),
            target: format!("≤ {} ms", SINGLE_MOST.as_millis()),
            met: Some(figure <= SINGLE_MOST.as_secs_f64() * 1000.0),
            ..Row::default()
        });
    }
    Ok(())
}
