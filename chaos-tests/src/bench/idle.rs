//! What a node of an idle cluster of three uses: memory, processor, disk.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::sleep;

use super::report::{Report, Row};
use crate::real::{Cluster, processes};

/// Until start-up work is done.
const SETTLE: Duration = Duration::from_secs(20);
const WINDOW: Duration = Duration::from_secs(60);
const RSS_TARGET: u64 = 30 << 20;
const CPU_TARGET: f64 = 0.5;
const DISK_TARGET: u64 = 10 << 10;
/// `USER_HZ` of every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Adds the rows: the worst of the three nodes.
pub(super) async fn run(report: &mut Report) -> Result<()> {
    let cluster = Cluster::start(3, 0).await?;
    sleep(SETTLE).await;
    let pids: Vec<i32> =
        cluster.nodes().iter().map(|node| node.pid().context("runs")).collect::<Result<_>>()?;
    let look = || pids.iter().map(|pid| processes::usage(*pid)).collect::<Result<Vec<_>>>();
    let before = look()?;
    sleep(WINDOW).await;
    let after = look()?;
    let spans = || before.iter().zip(&after);
    let rss = after.iter().map(|usage| usage.rss).max().unwrap_or_default();
    let ticks = spans().map(|(a, b)| b.ticks - a.ticks).max().unwrap_or_default();
    let written = spans().map(|(a, b)| b.written - a.written).max().unwrap_or_default();
    let cpu = f64::from(u32::try_from(ticks)?) / TICKS_PER_SECOND / WINDOW.as_secs_f64() * 100.0;
    let row = |what: &str, figure: String, target: &str, met: bool| Row {
        what: format!("idle node: {what}"),
        figure,
        target: target.to_owned(),
        met: Some(met),
        ..Row::default()
    };
    let mebibytes = (rss * 10) >> 20;
    let shown = format!("{}.{} MiB", mebibytes / 10, mebibytes % 10);
    report.add(row("resident memory", shown, "≤ 30 MiB", rss <= RSS_TARGET));
    report.add(row("processor", format!("{cpu:.2} %"), "≤ 0.5 %", cpu <= CPU_TARGET));
    let shown = format!("{} KiB/min", written / 1024);
    report.add(row("written to disk", shown, "≤ 10 KiB/min", written <= DISK_TARGET));
    Ok(())
}
