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

    cluster.move_node(3, 3)?;
    cluster.node(3).restart()?;
    cluster.node(3).serving().await?;
    let earlier = cluster.node(1);
    wait_until("the earlier one ends", SOON, async || (!earlier.is_running()).then_some(()))
        .await?;
    let log = cluster.nodes()[1].log_end();
    ensure!(log.contains("another process runs as this node"), "it does not say why: {log}");
    ensure!(dir.join("quarantine.json").exists(), "it would start again");
    cluster.take(1).lose_machine()?;
    cluster.settled().await?;
    load.goes_on(10).await?;
    load.verify(&cluster, &[]).await
}
