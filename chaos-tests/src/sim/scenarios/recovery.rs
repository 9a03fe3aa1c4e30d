//! 50 of the catalogue: most managers are lost, the survivor goes on alone, the old ones come back.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::FutureExt;
use futures::future::BoxFuture;
use swarm_model::id::TaskId;
use swarm_node::epoch;
use tokio::time::{Instant, sleep};

use super::{create, running, until_exact, until_settled};
use crate::sim::cluster::Kill;
use crate::sim::converge::settled;
use crate::sim::faults::leader;
use crate::sim::run::Run;

/// How soon those who are kept follow the survivor, and those who are not know it.
const KNOWN_WITHIN: Duration = Duration::from_secs(70);

/// Two of three managers are lost; workers and survivor go on without restarting a task; the lost ones
/// are fenced, alone and together.
pub(super) fn majority_lost(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        create(run, "web", 10).await?;
        until_exact(run, 10).await?;
        run.start_clients(3);
        sleep(run.chance.millis(500, 4000)).await;
        run.stop_clients().await?;
        until_settled(run, 30).await?;
        // What the survivor has not heard of by now would be lost, and rightly so.
        sleep(Duration::from_secs(3)).await;
        let mut managers: Vec<u32> = run.cluster.numbers().into_iter().take(3).collect();
        run.chance.shuffle(&mut managers);
        let (survivor, lost) = (managers[0], [managers[1], managers[2]]);
        let stay = |(number, _): &(u32, TaskId)| !lost.contains(number);
        let before: BTreeSet<_> = running(run).into_iter().filter(stay).collect();
        run.cluster.kill_together(&lost.map(|number| (number, Kill::Power))).await?;
        sleep(run.chance.millis(0, 5000)).await;
        run.cluster.kill(survivor, Kill::Process).await?;
        run.cluster.recover(survivor)?;
        run.cluster.boot(survivor).await?;
        followed(run, survivor).await?;
        let now = running(run);
        ensure!(
            before.is_subset(&now),
            "a task that could go on was restarted: {before:?} {now:?}"
        );
        create(run, "later", 3).await?;
        until_exact(run, 30).await?;
        come_back(run, survivor, lost).await?;
        run.settle().await
    }
    .boxed()
}

/// Waits until everybody who is up follows `survivor`.
async fn followed(run: &mut Run, survivor: u32) -> anyhow::Result<()> {
    let end = Instant::now() + KNOWN_WITHIN;
    loop {
        run.cluster.bear_again().await?;
        run.cluster.world.check()?;
        let alone = leader(&run.cluster) == Some(survivor);
        match settled(&run.cluster) {
            Ok(()) if alone => return Ok(()),
            found => ensure!(Instant::now() < end, "not followed by all: {found:?}"),
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// The lost ones come back, are fenced, and stay fenced over a restart.
async fn come_back(run: &mut Run, survivor: u32, lost: [u32; 2]) -> anyhow::Result<()> {
    for number in lost {
        run.cluster.boot(number).await?;
        let dir = run.cluster.node(number)?.core().data_dir.clone();
        let end = Instant::now() + KNOWN_WITHIN;
        while epoch::fence(&dir)?.is_none() {
            run.cluster.world.check()?;
            ensure!(Instant::now() < end, "n{number} does not know that it was left out");
            sleep(Duration::from_millis(50)).await;
        }
        run.cluster.bear_again().await?;
    }
    sleep(run.chance.millis(5000, 20_000)).await;
    ensure!(leader(&run.cluster) == Some(survivor), "the survivor does not lead any more");
    for number in lost {
        let node = run.cluster.node(number)?;
        let core = node.core();
        let reason = core.fence.clone().context("fenced")?;
        ensure!(reason.contains("leave --force"), "it names no way back: {reason}");
        ensure!(!core.consensus.gate().lets_records_in(), "n{number} takes part behind its fence");
        run.cluster.world.count("check: fenced");
        // As the daemon of a fenced node ends them.
        run.cluster.kill(number, Kill::Power).await?;
    }
    Ok(())
}
