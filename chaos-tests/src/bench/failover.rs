//! The leader's daemon is killed: how long until a write is accepted again.

use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::future::select_all;
use swarm_node::api::types::Written;

use super::report::{Report, Row};
use super::samples::Samples;
use crate::real::{Cluster, Stopwatch, spec};

const KILLS: usize = 20;
const MEDIAN_TARGET: Duration = Duration::from_secs(1);
const P99_TARGET: Duration = Duration::from_millis(1500);
/// Writers that give up must not end the measurement.
const PATIENCE: Duration = Duration::from_secs(30);

/// Adds the rows.
pub(super) async fn run(runs: usize, report: &mut Report) -> Result<()> {
    let mut cluster = Cluster::start(3, 0).await?;
    let (mut healthy, mut outages) = (Samples::new(), Samples::new());
    for kill in 0..runs.max(KILLS) {
        let leader = cluster.leader().await?;
        healthy.push(first_write(&cluster, leader, &format!("before-{kill}")).await?);
        cluster.node(leader).kill()?;
        let outage = first_write(&cluster, leader, &format!("after-{kill}")).await?;
        report.note(&format!("kill {kill}: {} ms", outage.as_millis()));
        outages.push(outage);
        cluster.node(leader).restart()?;
        cluster.node(leader).serving().await?;
        cluster.settled().await?;
    }
    let limit = ("healthy write", healthy.median());
    let what = format!("leader killed → next accepted write, {} kills", outages.len());
    report.add(Row::span(&format!("{what}: median"), outages.median(), limit, MEDIAN_TARGET));
    report.add(Row::span(&format!("{what}: p99"), outages.percentile(99), limit, P99_TARGET));
    Ok(())
}

/// One client at each node but `without` writes until one of them is told that it was done.
async fn first_write(cluster: &Cluster, without: usize, name: &str) -> Result<Duration> {
    let watch = Stopwatch::start();
    let others = (0..cluster.len()).filter(|number| *number != without);
    let writers = others.map(|number| Box::pin(write(cluster, number, format!("{name}-{number}"))));
    let (first, _number, _rest) = select_all(writers).await;
    first.map(|()| watch.elapsed())
}

async fn write(cluster: &Cluster, number: usize, name: String) -> Result<()> {
    let mut client = cluster.client(number).with_patience(PATIENCE);
    let spec = spec::config(&name, &[7; 256])?;
    let watch = Stopwatch::start();
    loop {
        match client.post::<Written>("/v1/configs/create", &spec).await {
            Ok(_written) => return Ok(()),
            Err(error) if watch.elapsed() > PATIENCE => return Err(error).context("no failover"),
            Err(_retried) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}
