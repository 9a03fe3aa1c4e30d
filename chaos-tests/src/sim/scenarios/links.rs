//! What links do to a cluster: lateness, repetition, shapes in which a majority exists and not
//! everybody sees it.

use std::time::Duration;

use anyhow::ensure;
use futures::FutureExt;
use futures::future::BoxFuture;
use swarm_net::sim::Link;
use tokio::time::sleep;

use super::super::run::Run;
use super::{
    create, goes_on, heal_and_settle, leader_of, others, running, until_exact, until_settled,
};

/// Writes that must be acknowledged while links are at their worst, for the run to mean something.
const LEAST_WRITES: u64 = 5;

/// Runs clients over links like these for a while.
async fn live_with(run: &mut Run, link: Link) -> anyhow::Result<()> {
    run.start_clients(4);
    sleep(run.chance.millis(500, 2000)).await;
    run.cluster.network.set_default_link(link);
    run.cluster.world.count("fault: links changed");
    goes_on(run, 30, LEAST_WRITES, &format!("over {link:?}")).await?;
    run.cluster.network.set_default_link(Link::LAN);
    until_settled(run, 30).await?;
    run.settle().await
}

/// 9 of the catalogue: 200±100 ms one way, near the limit of the time-outs.
pub(super) fn slow(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    let (delay, jitter) = (Duration::from_millis(100), Duration::from_millis(200));
    live_with(run, Link { delay, jitter, ..Link::LAN }).boxed()
}

/// 10 of the catalogue: a fifth of all datagrams comes again, and late ones overtake each other.
pub(super) fn replayed(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    let jitter = Duration::from_millis(40);
    live_with(run, Link { jitter, replay: 0.2, ..Link::LAN }).boxed()
}

/// 3 of the catalogue: each machine alone in turn.
pub(super) fn each_alone(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        run.start_clients(4);
        for number in run.cluster.numbers() {
            let rest = others(run, &[number]);
            run.cluster.partition(&[number], &rest)?;
            run.cluster.world.count("fault: partition");
            sleep(run.chance.millis(1000, 6000)).await;
            run.cluster.heal();
            sleep(run.chance.millis(0, 1500)).await;
        }
        until_settled(run, 30).await?;
        run.settle().await
    }
    .boxed()
}

/// 13 of the catalogue: nobody sees anybody for a while. No task is touched, not even after the heal,
/// when a leader still takes all others for gone.
pub(super) fn dark(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        create(run, "web", 10).await?;
        until_exact(run, 10).await?;
        let before = running(run);
        for number in run.cluster.numbers() {
            let rest = others(run, &[number]);
            run.cluster.partition(&[number], &rest)?;
        }
        run.cluster.world.count("fault: partition");
        sleep(run.chance.millis(2000, 60_000)).await;
        run.cluster.heal();
        until_settled(run, 30).await?;
        sleep(Duration::from_secs(10)).await;
        ensure!(running(run) == before, "tasks were touched");
        run.settle().await
    }
    .boxed()
}

/// 5 of the catalogue: two machines, one of which leads, do not see each other.
pub(super) fn bridge(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        run.start_clients(4);
        sleep(run.chance.millis(500, 2000)).await;
        let leading = leader_of(run)?;
        let rest = others(run, &[leading]);
        let Some(far) = run.chance.pick(&rest).copied() else { return Ok(()) };
        run.cluster.partition(&[leading], &[far])?;
        run.cluster.world.count("fault: partition");
        sleep(Duration::from_secs(5)).await;
        goes_on(run, 10, LEAST_WRITES + 1, "although a majority is whole").await?;
        heal_and_settle(run).await
    }
    .boxed()
}

/// 6 of the catalogue: each machine sees only its neighbours in a ring of five.
pub(super) fn ring(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        run.start_clients(4);
        sleep(run.chance.millis(500, 2000)).await;
        let mut ring = run.cluster.numbers();
        run.chance.shuffle(&mut ring);
        for at in 0..ring.len() {
            let across = [(at + 2) % ring.len(), (at + 3) % ring.len()];
            for far in across {
                run.cluster.cut(ring[at], ring[far])?;
            }
        }
        run.cluster.world.count("fault: partition");
        sleep(Duration::from_secs(25)).await;
        heal_and_settle(run).await
    }
    .boxed()
}

/// 7 of the catalogue: the leader's links to one machine come and go each second.
pub(super) fn flapping(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        run.start_clients(4);
        let leading = leader_of(run)?;
        let rest = others(run, &[leading]);
        let Some(far) = run.chance.pick(&rest).copied() else { return Ok(()) };
        for _ in 0..20 {
            run.cluster.partition(&[leading], &[far])?;
            run.cluster.world.count("fault: partition");
            sleep(run.chance.millis(300, 700)).await;
            run.cluster.heal();
            sleep(run.chance.millis(300, 700)).await;
        }
        until_settled(run, 30).await?;
        run.settle().await
    }
    .boxed()
}
