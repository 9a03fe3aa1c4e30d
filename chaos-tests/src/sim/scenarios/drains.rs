//! Drained nodes: tasks move away, as long as there is somewhere to go.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::FutureExt;
use futures::future::BoxFuture;
use swarm_model::command::Op;
use swarm_model::node::Availability;
use swarm_node::api::backend::Backend;
use tokio::time::sleep;

use super::super::converge::wait_until;
use super::super::run::Run;
use super::{agree, busy_follower, create, leader_of, running, until_exact};

/// How long nothing may change while there is nowhere to go.
const STAY: Duration = Duration::from_secs(70);

async fn set(run: &mut Run, number: u32, availability: Availability) -> anyhow::Result<()> {
    let id = run.cluster.id(number)?;
    let view = run.cluster.node(leader_of(run)?)?.view();
    let mut spec = view.nodes.get(&id).context("a member")?.spec.clone();
    spec.availability = availability;
    agree(run, Op::UpdateNode { id, version: None, spec, drain_deadline: None }).await?;
    Ok(())
}

/// A drained node is empty soon, and gets nothing.
pub(super) fn one(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        create(run, "web", 10).await?;
        until_exact(run, 10).await?;
        let number = busy_follower(run)?;
        set(run, number, Availability::Drain).await?;
        wait_until(&run.cluster, "an empty node", Duration::from_secs(30), || {
            let left = running(run).iter().filter(|(machine, _)| *machine == number).count();
            if left == 0 { Ok(()) } else { Err(format!("{left} still run")) }
        })
        .await?;
        until_exact(run, 10).await?;
        create(run, "more", 10).await?;
        until_exact(run, 10).await?;
        let here = running(run).iter().filter(|(machine, _)| *machine == number).count();
        ensure!(here == 0, "a drained node got tasks");
        set(run, number, Availability::Active).await?;
        run.settle().await
    }
    .boxed()
}

/// With nowhere to go, tasks of drained nodes serve on; one that ends stays away until a node takes
/// tasks again.
pub(super) fn all(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        create(run, "web", 6).await?;
        until_exact(run, 10).await?;
        let numbers = run.cluster.numbers();
        for number in &numbers {
            set(run, *number, Availability::Drain).await?;
        }
        // Those that were on their way when the last node closed arrive.
        sleep(Duration::from_secs(5)).await;
        let before = running(run);
        ensure!(before.len() == 6, "{} of 6 run on when all nodes are drained", before.len());
        sleep(STAY).await;
        ensure!(running(run) == before, "tasks changed although there is nowhere to go");
        let (number, task) = *run.chance.pick(&before.iter().collect::<Vec<_>>()).context("six")?;
        run.cluster.runtime(*number)?.crash(*task, 1);
        run.cluster.world.count("fault: task crashed");
        sleep(STAY).await;
        let left = running(run);
        ensure!(left.len() == 5 && left.is_subset(&before), "{left:?} run, not the other five");
        let open = *run.chance.pick(&numbers).context("three nodes")?;
        set(run, open, Availability::Active).await?;
        until_exact(run, 30).await?;
        let elsewhere = running(run).iter().filter(|(machine, _)| *machine != open).count();
        ensure!(elsewhere == 0, "{elsewhere} still run on drained nodes");
        run.settle().await
    }
    .boxed()
}
