//! `service create` until all replicas run, beside plain fork+exec of as many processes.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use swarm_node::api::types::{ServiceEntry, Written};
use tokio::time::{Instant, sleep};

use super::report::{Report, Row};
use super::samples::Samples;
use crate::real::{Cluster, Stopwatch, spec, wait_until};

/// Replicas, and the time they may take; the issue sets no target for ten.
const POINTS: [(u32, Option<Duration>); 3] =
    [(1, Some(Duration::from_millis(50))), (10, None), (100, Some(Duration::from_secs(2)))];
const PATIENCE: Duration = Duration::from_secs(60);

/// Adds the rows.
pub(super) async fn run(runs: usize, report: &mut Report) -> Result<()> {
    let cluster = Cluster::start(3, 0).await?;
    for (replicas, target) in POINTS {
        let (mut raw, mut created) = (Samples::new(), Samples::new());
        for run in 0..runs {
            raw.push(bare(replicas)?);
            let name = format!("bench-{replicas}-{run}");
            created.push(once(&cluster, run % cluster.len(), &name, replicas).await?);
        }
        let limit = ("fork+exec", raw.median());
        let what = format!("create → Running, {replicas} process replicas");
        let mut row = Row::span(&what, created.median(), limit, target.unwrap_or(PATIENCE));
        if target.is_none() {
            (row.target, row.met) = (String::new(), None);
        }
        report.add(row);
    }
    Ok(())
}

/// Creates through one node and watches there until all run; removes it again.
pub(super) async fn once(
    cluster: &Cluster,
    number: usize,
    name: &str,
    replicas: u32,
) -> Result<Duration> {
    let mut client = cluster.client(number);
    let spec = spec::service(name, replicas, &spec::STAYS)?;
    let target = format!("/v1/services/{name}?stale=true");
    // Looking costs the machine something too: seldom when it takes long.
    let pause = Duration::from_millis(if replicas > 10 { 10 } else { 1 });
    let watch = Stopwatch::start();
    client.post::<Written>("/v1/services/create", &spec).await?;
    let end = Instant::now() + PATIENCE;
    // The local replica may not know of it yet.
    while client.get::<ServiceEntry>(&target).await.ok().map(|it| it.service_status.running_tasks)
        != Some(replicas)
    {
        if Instant::now() > end {
            bail!("{name} did not come up");
        }
        sleep(pause).await;
    }
    let elapsed = watch.elapsed();
    client.delete(&format!("/v1/services/{name}")).await?;
    gone(cluster).await?;
    Ok(elapsed)
}

/// Waits until no task of any node is left.
pub(super) async fn gone(cluster: &Cluster) -> Result<()> {
    wait_until("its processes are gone", PATIENCE, async || {
        let left = cluster.nodes().iter().map(|node| node.task_processes().map(|it| it.len()));
        (left.sum::<Result<usize>>().ok()? == 0).then_some(())
    })
    .await
}

/// Starts as many processes without any of us.
fn bare(count: u32) -> Result<Duration> {
    let [program, argument] = spec::STAYS;
    let watch = Stopwatch::start();
    let start = || Command::new(program).arg(argument).stdin(Stdio::null()).spawn();
    let started: Vec<_> = (0..count).map(|_| start()).collect();
    let elapsed = watch.elapsed();
    for child in started {
        let mut child: Child = child.context("fork+exec")?;
        child.kill()?;
        child.wait()?;
    }
    Ok(elapsed)
}
