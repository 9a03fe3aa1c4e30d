//! A machine is lost with its daemon and tasks: how long until all its tasks run elsewhere.

use std::time::Duration;

use anyhow::{Result, ensure};
use swarm_model::id::NodeId;
use swarm_model::task_state::ObservedState;
use swarm_node::api::types::Written;
use tokio::time::sleep;

use super::report::{Report, Row};
use super::samples::Samples;
use crate::real::{Cluster, Stopwatch, spec};

const WORKER_TARGET: Duration = Duration::from_secs(4);
const LEADER_TARGET: Duration = Duration::from_secs(5);
const REPLICAS: u32 = 9;
const PATIENCE: Duration = Duration::from_secs(60);

/// Adds the rows: three managers and a worker; first the worker is lost, then whoever leads.
pub(super) async fn run(runs: usize, report: &mut Report) -> Result<()> {
    let mut cluster = Cluster::start(3, 1).await?;
    let worker = 3;
    let (mut workers, mut leaders) = (Samples::new(), Samples::new());
    for run in 0..runs {
        workers.push(once(&mut cluster, worker, &format!("w{run}")).await?);
        let leader = cluster.leader().await?;
        leaders.push(once(&mut cluster, leader, &format!("l{run}")).await?);
        let (w, l) = (workers.percentile(100), leaders.percentile(100));
        report.note(&format!("run {run}: worst so far {} ms, {} ms", w.as_millis(), l.as_millis()));
    }
    for (what, samples, target) in [
        ("worker killed with its tasks → they run elsewhere", workers, WORKER_TARGET),
        ("leader's machine lost → its tasks run elsewhere", leaders, LEADER_TARGET),
    ] {
        let mut row = Row::span(what, samples.median(), ("", Duration::ZERO), target);
        row.raw = format!("worst {}", super::samples::Span(samples.worst()));
        row.ratio = String::new();
        report.add(row);
    }
    Ok(())
}

async fn once(cluster: &mut Cluster, victim: usize, name: &str) -> Result<Duration> {
    let witness = (0..3).find(|number| *number != victim).unwrap_or_default();
    let spec = spec::service(name, REPLICAS, &spec::STAYS)?;
    cluster.client(witness).post::<Written>("/v1/services/create", &spec).await?;
    cluster.converged(witness, name, PATIENCE).await?;
    let lost = cluster.nodes()[victim].info().await?.node_id;
    let held = tasks_on(cluster, witness, name, |node| node == lost).await?;
    ensure!(held > 0, "the lost node had none of the tasks");

    let watch = Stopwatch::start();
    cluster.node(victim).lose_machine()?;
    while tasks_on(cluster, witness, name, |node| node != lost).await? < REPLICAS as usize {
        ensure!(watch.elapsed() < PATIENCE, "{name} did not recover");
        sleep(Duration::from_millis(5)).await;
    }
    let elapsed = watch.elapsed();

    cluster.node(victim).restart()?;
    cluster.node(victim).serving().await?;
    cluster.settled().await?;
    cluster.client(witness).delete(&format!("/v1/services/{name}")).await?;
    Ok(elapsed)
}

/// Slots of a service that run on nodes of this kind, as `witness` sees it.
async fn tasks_on(
    cluster: &Cluster,
    witness: usize,
    name: &str,
    is_one: impl Fn(NodeId) -> bool,
) -> Result<usize> {
    let tasks = cluster.wanted_tasks(witness, name).await?;
    let running = tasks.iter().filter(|it| it.task.status.state == ObservedState::Running);
    Ok(running.filter(|it| it.task.node.is_some_and(&is_one)).count())
}
