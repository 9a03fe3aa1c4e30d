//! What a task takes in the view of a large cluster. Told truly only by a process that did nothing large
//! before: so it comes first.

use anyhow::Result;
use swarm_control::bench::view;

use super::report::{Report, Row};
use crate::real::processes;

const NODES: u32 = 5_000;
const TASKS: u32 = 150_000;
/// Bytes a task.
const TARGET: u64 = 1024;

/// Adds the row.
pub(super) fn run(report: &mut Report) -> Result<()> {
    let own = i32::try_from(std::process::id())?;
    let before = processes::usage(own)?.rss;
    let view = view(NODES, TASKS)?;
    let bytes = (processes::usage(own)?.rss - before) / u64::try_from(view.tasks.len())?;
    report.add(Row {
        what: format!("view of {TASKS} tasks on {NODES} nodes"),
        figure: format!("{bytes} B a task"),
        target: format!("≤ {TARGET} B"),
        met: Some(bytes <= TARGET),
        ..Row::default()
    });
    Ok(())
}
