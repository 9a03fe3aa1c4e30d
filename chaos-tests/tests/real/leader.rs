//! The leader is killed or frozen while the cluster works.

use std::time::Duration;

use anyhow::Result;
use swarm_chaos::real::{Cluster, spec, wait_until};
use swarm_node::api::types::{ServiceEntry, Written};

use crate::support::{LONG, Run, SOON};

#[tokio::test(flavor = "multi_thread")]
async fn leader_killed_while_200_tasks_are_placed_still_gives_200() -> Result<()> {
    let mut cluster = Cluster::start(3, 0).await?;
    let run = Run::start(&cluster);
    let leader = cluster.leader().await?;
    let other = (leader + 1) % 3;
    let mut client = cluster.client(other);
    let many = spec::service("many", 200, &spec::STAYS)?;
    client.post::<Written>("/v1/services/create", &many).await?;
    wait_until("some of the tasks run", SOON, async || {
        let entry: ServiceEntry = client.get("/v1/services/many?stale=true").await.ok()?;
        (entry.service_status.running_tasks >= 10).then_some(())
    })
    .await?;
    cluster.node(leader).kill()?;
    run.goes_on(5).await?;
    cluster.converged(other, "many", LONG).await?;
    cluster.node(leader).restart()?;
    cluster.node(leader).serving().await?;
    cluster.settled().await?;
    run.verify(&cluster, &["many"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_leader_is_replaced_and_follows_when_it_wakes() -> Result<()> {
    let cluster = Cluster::start(3, 0).await?;
    let run = Run::start(&cluster);
    let leader = cluster.leader().await?;
    let frozen = &cluster.nodes()[leader];
    let id = frozen.info().await?.node_id;
    frozen.freeze()?;
    let witness = &cluster.nodes()[(leader + 1) % 3];
    let replaced = wait_until("another leader", SOON, async || {
        let info = witness.info().await.ok()?;
        info.leader.filter(|leader| *leader != id)
    });
    let replaced = replaced.await;
    frozen.thaw()?;
    replaced?;
    tokio::time::timeout(Duration::from_secs(30), run.goes_on(20)).await??;
    run.verify(&cluster, &[]).await
}
