//! A rolling update, beside what its batches need: the start of as many tasks, and their monitor time.

use std::time::Duration;

use anyhow::{Result, ensure};
use swarm_model::update::UpdatePolicy;
use swarm_node::api::types::{ServiceEntry, Written};

use super::create;
use super::report::{Report, Row};
use super::samples::Samples;
use crate::real::{Cluster, Stopwatch, spec, wait_until};

const REPLICAS: u32 = 100;
const PARALLELISM: u32 = 10;
const MONITOR: Duration = Duration::from_secs(1);
/// Against the sum of the batches.
const MOST: u32 = 2;
const PATIENCE: Duration = Duration::from_secs(120);

/// Adds the row.
pub(super) async fn run(runs: usize, report: &mut Report) -> Result<()> {
    let cluster = Cluster::start(3, 0).await?;
    let (mut starts, mut updates) = (Samples::new(), Samples::new());
    for run in 0..runs {
        starts.push(create::once(&cluster, 0, &format!("batch-{run}"), PARALLELISM).await?);
        updates.push(update(&cluster, &format!("rolling-{run}")).await?);
    }
    let batches = (starts.median() + MONITOR) * (REPLICAS / PARALLELISM);
    let what = format!("rolling update, {REPLICAS} process replicas, {PARALLELISM} at a time");
    let limit = ("its batches", batches);
    report.add(Row::span(&what, updates.median(), limit, batches * MOST));
    Ok(())
}

/// Brings another command in everywhere, and takes the service away again.
async fn update(cluster: &Cluster, name: &str) -> Result<Duration> {
    let mut client = cluster.client(0);
    let target = format!("/v1/services/{name}?stale=true");
    let mut spec = spec::service(name, REPLICAS, &spec::STAYS)?;
    spec.update = UpdatePolicy {
        parallelism: PARALLELISM,
        monitor_ms: u64::try_from(MONITOR.as_millis())?,
        ..UpdatePolicy::default()
    };
    client.post::<Written>("/v1/services/create", &spec).await?;
    cluster.converged(0, name, PATIENCE).await?;
    spec.task_template.force_update += 1;
    let watch = Stopwatch::start();
    client.post::<Written>(&format!("/v1/services/{name}/update"), &spec).await?;
    let mut state = String::new();
    wait_until("the update is through", PATIENCE, async || {
        let entry: ServiceEntry = client.get(&target).await.ok()?;
        state = entry.update_status?.state;
        (state != "updating").then_some(())
    })
    .await?;
    let elapsed = watch.elapsed();
    ensure!(state == "completed", "{name}: {state}");
    client.delete(&format!("/v1/services/{name}")).await?;
    create::gone(cluster).await?;
    Ok(elapsed)
}
