//! 45 of the catalogue: the voters of a cluster grow from one to seven, the most there can be, and shrink to one.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::FutureExt;
use futures::future::BoxFuture;
use swarm_model::cluster::ClusterSpec;
use swarm_model::command::{Actor, Op};
use swarm_model::node::Role;
use swarm_node::api::backend::Backend;
use tokio::time::sleep;

use super::{agree, goes_on, leader_of, new_leader, others, until_settled};
use crate::sim::cluster::Kill;
use crate::sim::converge::{settled, wait_until};
use crate::sim::faults::leader;
use crate::sim::run::Run;

/// The most voters that a cluster may have.
const MOST: u32 = 7;

/// One manager becomes seven, loses three of them for a while, and becomes one again, under load.
pub(super) fn one_seven_one(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        run.start_clients(5);
        let view = run.cluster.node(1)?.view();
        let spec = view.cluster.as_ref().context("a founded cluster")?.spec.clone();
        agree(
            run,
            Op::UpdateCluster { version: None, spec: ClusterSpec { max_voters: MOST, ..spec } },
        )
        .await?;
        for managers in 2..=MOST {
            run.cluster.join(Role::Manager).await?;
            run.cluster.world.count("fault: member joined");
            votes(run, managers).await?;
        }
        three_of_seven_die(run).await?;
        let mut leaving = run.cluster.numbers();
        run.chance.shuffle(&mut leaving);
        let stays = leaving.pop().context("seven nodes")?;
        for (gone, number) in (1..).zip(leaving) {
            leave(run, number).await?;
            votes(run, MOST - gone).await?;
        }
        ensure!(leader_of(run)? == stays, "n{stays} is alone and does not lead");
        goes_on(run, 5, 20, "of the one that is left").await?;
        run.settle().await
    }
    .boxed()
}

/// Waits until as many vote as `managers` of them can, and lets the load go on with them.
async fn votes(run: &Run, managers: u32) -> anyhow::Result<()> {
    let wanted = if managers.is_multiple_of(2) { managers - 1 } else { managers };
    let limit = Duration::from_secs(30);
    wait_until(&run.cluster, &format!("{wanted} voters"), limit, || {
        settled(&run.cluster)?;
        let number = leader(&run.cluster).ok_or("nobody leads")?;
        let node = run.cluster.node(number).map_err(|error| error.to_string())?;
        let voters = node.core().consensus.status_now().voters.len();
        if voters == wanted as usize { Ok(()) } else { Err(format!("{voters} vote")) }
    })
    .await?;
    goes_on(run, 3, 5, &format!("of {wanted} voters")).await
}

/// Four of seven are a majority, three of them dead: fewer voters would not go on.
async fn three_of_seven_die(run: &mut Run) -> anyhow::Result<()> {
    let leading = leader_of(run)?;
    let dead: Vec<u32> = others(run, &[leading]).into_iter().take(2).chain([leading]).collect();
    let dying: Vec<_> = dead.iter().map(|number| (*number, Kill::Power)).collect();
    run.cluster.kill_together(&dying).await?;
    run.cluster.world.count_many("fault: power cut", dead.len());
    let rest = others(run, &dead);
    new_leader(run, &rest, leading, 10).await?;
    goes_on(run, 5, 5, "of four of seven voters").await?;
    for number in dead {
        run.cluster.boot(number).await?;
        sleep(run.chance.millis(0, 500)).await;
    }
    until_settled(run, 30).await?;
    votes(run, MOST).await
}

/// A manager leaves, as by `swarm leave`; its machine is never seen again.
async fn leave(run: &mut Run, number: u32) -> anyhow::Result<()> {
    let node = run.cluster.node(number)?;
    let id = node.core().id;
    let left = node.leave(Actor { node: id, uid: Some(0) }, false).await;
    left.with_context(|| format!("n{number} leaves"))?;
    run.cluster.world.count("fault: member left");
    run.cluster.bury(number).await.map(drop)
}
