//! Disks that fail: a daemon whose sync failed ends at once, and what it said before holds after the
//! power cuts that follow.

use std::time::Duration;

use anyhow::Context as _;
use futures::FutureExt;
use futures::future::BoxFuture;
use swarm_state::store::disk::{Fault, FaultKind};
use tokio::time::sleep;

use super::super::cluster::Kill;
use super::super::converge::wait_until;
use super::super::run::Run;
use super::{create, until_exact, until_settled};

/// How soon a daemon ends whose disk fails one of its next syncs.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// 32 of the catalogue: a write or a sync of some table fails, then the power, more than once.
pub(super) fn failing(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        create(run, "web", 10).await?;
        until_exact(run, 10).await?;
        run.start_clients(4);
        for _ in 0..8 {
            let numbers = run.cluster.numbers();
            let number = *run.chance.pick(&numbers).context("a machine")?;
            let kind = if run.chance.percent(50) { FaultKind::Sync } else { FaultKind::Write };
            let fault = Fault { kind, after: run.chance.between(0, 30) };
            run.cluster.world.count("fault: disk error");
            run.cluster.world.note(&format!("n{number}: {fault:?}"));
            run.cluster.disk(number)?.inject(fault);
            match kind {
                FaultKind::Sync => until_ended(run, number).await?,
                // After a failed write the table is whole: the daemon may go on.
                FaultKind::Write | FaultKind::Read => sleep(run.chance.millis(100, 3000)).await,
            }
            for _ in 0..run.chance.between(1, 3) {
                run.cluster.world.count("fault: power cut");
                run.cluster.kill(number, Kill::Power).await?;
                sleep(run.chance.millis(0, 1500)).await;
                run.cluster.boot(number).await?;
                sleep(run.chance.millis(0, 200)).await;
            }
            until_settled(run, 30).await?;
        }
        run.settle().await
    }
    .boxed()
}

async fn until_ended(run: &mut Run, number: u32) -> anyhow::Result<()> {
    // Workers write little: something for every table to keep.
    let extra = run.chance.wide();
    create(run, &format!("extra-{extra:x}"), 5).await?;
    let node = run.cluster.node(number)?;
    wait_until(&run.cluster, "a daemon that ends with its disk", ENDS_WITHIN, || {
        let core = node.core();
        match core.broken_disk.is_cancelled() || core.consensus.status_now().fault.is_some() {
            true => Ok(()),
            false => Err(format!("n{number} goes on")),
        }
    })
    .await
}
