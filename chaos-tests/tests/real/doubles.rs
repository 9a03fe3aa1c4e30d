//! Two processes of one node: only the later one goes on.

use anyhow::{Result, ensure};
use swarm_chaos::real::{Cluster, wait_until};

use crate::support::{Run, SOON, copy_dir};

#[tokio::test(flavor = "multi_thread")]
async fn earlier_of_two_processes_of_one_node_gives_way() -> Result<()> {
    let mut cluster = Cluster::start(3, 0).await?;
    let load = Run::start(&cluster);
    load.goes_on(10).await?;
    cluster.node(1).kill()?;
    let dir = cluster.nodes()[1].dir.clone();
    let copy = cluster.add_place()?.dir.clone();
    copy_dir(&dir, &copy)?;
    cluster.node(1).restart()?;
    cluster.node(1).serving().await?;
    load.goes_on(10).await?;

    gives_way(&mut cluster, 1, load).await
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_gives_way_to_a_later_process_of_its_node() -> Result<()> {
    let mut cluster = Cluster::start(3, 0).await?;
    let load = Run::start(&cluster);
    load.goes_on(10).await?;
    let leader = cluster.leader().await?;
    let dir = cluster.nodes()[leader].dir.clone();
    let copy = cluster.add_place()?.dir.clone();
    // As a snapshot of its disk would have it, so short that nobody misses it.
    cluster.nodes()[leader].freeze()?;
    let copied = copy_dir(&dir, &copy);
    cluster.nodes()[leader].thaw()?;
    copied?;
    gives_way(&mut cluster, leader, load).await
}

/// Starts the copy at the last place of what runs as node `earlier`, which has to end then.
async fn gives_way(cluster: &mut Cluster, earlier: usize, load: Run) -> Result<()> {
    let dir = cluster.nodes()[earlier].dir.clone();
    cluster.move_node(3, 3)?;
    cluster.node(3).restart()?;
    cluster.node(3).serving().await?;
    let process = cluster.node(earlier);
    wait_until("the earlier one ends", SOON, async || (!process.is_running()).then_some(()))
        .await?;
    let log = cluster.nodes()[earlier].log_end();
    ensure!(log.contains("another process runs as this node"), "it does not say why: {log}");
    ensure!(dir.join("quarantine.json").exists(), "it would start again");
    cluster.take(earlier).lose_machine()?;
    cluster.settled().await?;
    load.goes_on(10).await?;
    load.verify(cluster, &[]).await
}
