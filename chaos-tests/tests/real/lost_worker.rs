//! A worker is lost: its tasks run elsewhere. It comes back: its old tasks end.

use anyhow::{Result, ensure};
use swarm_chaos::invariants::{at_most_one_task_a_slot, no_orphans, programs};
use swarm_chaos::real::{Cluster, Partition, can_partition, spec, wait_until};
use swarm_model::task_state::ObservedState;
use swarm_node::api::types::Written;

use crate::support::{LONG, Run, SOON, skip};

const WORKER: usize = 3;

/// Three managers and a worker that runs some of six tasks.
async fn cluster_with_tasks() -> Result<Cluster> {
    let cluster = Cluster::start(3, 1).await?;
    let web = spec::service("web", 8, &spec::STAYS)?;
    cluster.client(0).post::<Written>("/v1/services/create", &web).await?;
    cluster.converged(0, "web", SOON).await?;
    ensure!(on_worker(&cluster)? > 0, "the worker has no task");
    Ok(cluster)
}

fn on_worker(cluster: &Cluster) -> Result<usize> {
    Ok(programs(cluster, "web")?.iter().filter(|it| it.node == WORKER).count())
}

/// Waits until eight tasks run on other nodes than the worker.
async fn replaced(cluster: &Cluster) -> Result<()> {
    wait_until("the worker's tasks run elsewhere", LONG, async || {
        let tasks = cluster.wanted_tasks(0, "web").await.ok()?;
        let running =
            tasks.iter().filter(|it| it.task.status.state == ObservedState::Running).count();
        let elsewhere =
            programs(cluster, "web").ok()?.iter().filter(|it| it.node != WORKER).count();
        (running >= 8 && elsewhere == 8).then_some(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_a_lost_machine_run_elsewhere() -> Result<()> {
    let mut cluster = cluster_with_tasks().await?;
    let run = Run::start(&cluster);
    cluster.node(WORKER).lose_machine()?;
    replaced(&cluster).await?;
    cluster.node(WORKER).restart()?;
    cluster.node(WORKER).serving().await?;
    run.verify(&cluster, &["web"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_that_was_cut_off_ends_its_old_tasks_when_it_returns() -> Result<()> {
    if !can_partition() {
        return skip("needs root and nft");
    }
    let cluster = cluster_with_tasks().await?;
    let run = Run::start(&cluster);
    let all: Vec<_> = cluster.nodes().iter().map(|node| node.addr).collect();
    let cut = Partition::between(&all[..WORKER], &all[WORKER..])?;
    replaced(&cluster).await?;
    ensure!(on_worker(&cluster)? > 0, "a node that is cut off ended its tasks");
    ensure!(cut.hit()? > 0, "nothing was cut");
    drop(cut);
    cluster.settled().await?;
    no_orphans(&cluster, 0, "web", SOON).await?;
    at_most_one_task_a_slot(&cluster, "web")?;
    run.verify(&cluster, &["web"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_removed_while_their_worker_was_down_end_when_it_returns() -> Result<()> {
    let mut cluster = cluster_with_tasks().await?;
    cluster.node(WORKER).kill()?;
    cluster.client(0).delete("/v1/services/web").await?;
    cluster.node(WORKER).restart()?;
    swarm_chaos::invariants::removed_services_are_gone(&cluster, "web").await
}
