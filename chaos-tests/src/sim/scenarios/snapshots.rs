//! Snapshots that are cut short, and the log being cut while members come, go and are cut off.

use std::time::Duration;

use anyhow::Context as _;
use futures::FutureExt;
use futures::future::BoxFuture;
use swarm_model::command::Op;
use swarm_model::node::Role;
use swarm_state::store::disk::{Fault, FaultKind};
use tokio::time::sleep;

use super::super::cluster::Kill;
use super::super::converge::wait_until;
use super::super::run::Run;
use super::{agree, others, until_settled};

/// Members beyond which nobody joins any more.
const MEMBERS_MAX: usize = 7;

/// 23 of the catalogue: a daemon that is short of memory dies in the middle of writing a snapshot.
pub(super) fn cut_short(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        run.start_clients(5);
        for _ in 0..5 {
            let numbers = run.cluster.numbers();
            let number = *run.chance.pick(&numbers).context("a machine")?;
            before_a_snapshot(run, number).await?;
            // From some write on nothing works any more; then the process is gone.
            let fault = Fault { kind: FaultKind::Write, after: run.chance.between(0, 12) };
            run.cluster.disk(number)?.inject(fault);
            run.cluster.world.count("fault: killed around a snapshot");
            sleep(run.chance.millis(20, 400)).await;
            let how = if run.chance.percent(50) { Kill::Process } else { Kill::Power };
            run.cluster.kill(number, how).await?;
            sleep(run.chance.millis(0, 2000)).await;
            run.cluster.boot(number).await?;
            until_settled(run, 30).await?;
        }
        run.settle().await
    }
    .boxed()
}

/// Waits until a machine is a few records away from its next snapshot.
async fn before_a_snapshot(run: &Run, number: u32) -> anyhow::Result<()> {
    let limit = Duration::from_secs(120);
    wait_until(&run.cluster, "a snapshot that is almost due", limit, || {
        let node = run.cluster.node(number).map_err(|error| error.to_string())?;
        let status = node.core().consensus.status_now();
        let since = status.applied.0.saturating_sub(status.snapshot.unwrap_or_default().0);
        if since >= 90 { Ok(()) } else { Err(format!("{since} records since the last one")) }
    })
    .await
}

/// 49 of the catalogue: members come and go for ever while others are cut off or lose power, and the
/// log is cut all the time.
pub(super) fn members_and_partitions(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        run.start_clients(5);
        for _ in 0..6 {
            // Newcomers ask the first machine, and the last one's number is not given again.
            let numbers = run.cluster.numbers();
            let middle: Vec<u32> = numbers[1..numbers.len() - 1].to_vec();
            let away = *run.chance.pick(&middle).context("three machines")?;
            let rest = others(run, &[away]);
            run.cluster.partition(&[away], &rest)?;
            run.cluster.world.count("fault: partition");
            sleep(run.chance.millis(0, 2000)).await;
            if run.chance.percent(60) && numbers.len() < MEMBERS_MAX {
                let role = if run.chance.percent(70) { Role::Manager } else { Role::Worker };
                run.cluster.join(role).await?;
                run.cluster.world.count("fault: member joined");
            } else if numbers.len() > 4 {
                let id = run.cluster.bury(away).await?;
                agree(run, Op::RemoveNode { id, force: true }).await?;
                run.cluster.world.count("fault: member removed");
            }
            sleep(run.chance.millis(500, 4000)).await;
            run.cluster.heal();
            let numbers = run.cluster.numbers();
            let dead = *run.chance.pick(&numbers).context("a machine")?;
            run.cluster.kill(dead, Kill::Power).await?;
            run.cluster.world.count("fault: power cut");
            sleep(run.chance.millis(0, 3000)).await;
            run.cluster.boot(dead).await?;
            until_settled(run, 30).await?;
        }
        run.settle().await
    }
    .boxed()
}
