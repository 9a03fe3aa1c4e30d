//! Wall clocks that are wrong: far apart, or jumping. Monotonic clocks (55 of the catalogue) are
//! apart by construction: no instant leaves its node, and each life begins with a new one.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::FutureExt;
use futures::future::BoxFuture;
use swarm_model::command::{Actor, Op};
use swarm_model::id::RequestId;
use swarm_node::api::backend::{Applied, Backend};
use tokio::time::sleep;

use super::super::cluster::Kill;
use super::super::faults::leader;
use super::super::run::Run;
use super::super::workload::service_spec;
use super::{create, leader_of, new_leader, others, until_exact, until_settled};

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

/// Kills whoever leads, a few times, so that each clock gets its turn; tasks crash meanwhile.
async fn change_leaders(run: &mut Run, times: u32) -> anyhow::Result<()> {
    for _ in 0..times {
        sleep(run.chance.millis(1000, 4000)).await;
        for seat in run.cluster.world.seats().values() {
            if let Some(task) = seat.runtime.running().into_iter().next() {
                seat.runtime.crash(task, 1);
                run.cluster.world.count("fault: task crashed");
            }
        }
        let Some(old) = leader(&run.cluster) else { continue };
        run.cluster.world.count("fault: leader killed");
        run.cluster.kill(old, Kill::Process).await?;
        sleep(run.chance.millis(200, 3000)).await;
        run.cluster.boot(old).await?;
    }
    Ok(())
}

/// 53 of the catalogue: clocks of one cluster are up to ten days apart either way.
pub(super) fn apart(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        create(run, "web", 6).await?;
        until_exact(run, 10).await?;
        run.start_clients(4);
        for (at, number) in run.cluster.numbers().into_iter().enumerate() {
            let offset = [0, 10 * DAY_MS, -10 * DAY_MS][at % 3];
            run.cluster.set_clock(number, offset)?;
            run.cluster.world.count("fault: wall clock set");
        }
        change_leaders(run, 6).await?;
        until_settled(run, 30).await?;
        run.settle().await
    }
    .boxed()
}

/// 54 of the catalogue: clocks jump by up to five minutes, again and again.
pub(super) fn jumping(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        create(run, "web", 6).await?;
        until_exact(run, 10).await?;
        run.start_clients(4);
        for _ in 0..6 {
            for number in run.cluster.numbers() {
                let span = run.chance.between(0, 600);
                let offset = (i64::from(span) - 300) * 1000;
                run.cluster.set_clock(number, offset)?;
                run.cluster.world.count("fault: wall clock set");
            }
            change_leaders(run, 1).await?;
        }
        for number in run.cluster.numbers() {
            run.cluster.set_clock(number, 0)?;
        }
        sleep(Duration::from_secs(1)).await;
        until_settled(run, 30).await?;
        run.settle().await
    }
    .boxed()
}

/// A request that is asked again takes effect once, although the leaders between have clocks that
/// are days apart.
pub(super) fn retried(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        let id = create(run, "web", 2).await?;
        let request = RequestId::from_raw(run.chance.wide());
        let spec = Box::new(service_spec("web", 3, 1, 0));
        let op = Op::UpdateService { id, version: None, spec, steered: true };
        let first = ask(run, request, op.clone()).await?;
        for (at, days) in [10, -10, 10].into_iter().enumerate() {
            let old = leader_of(run)?;
            let rest = others(run, &[old]);
            for number in &rest {
                run.cluster.set_clock(*number, days * DAY_MS)?;
                run.cluster.world.count("fault: wall clock set");
            }
            run.cluster.world.count("fault: leader killed");
            run.cluster.kill(old, Kill::Process).await?;
            new_leader(run, &rest, old, 5).await?;
            // Brings the new leader's time into the state.
            create(run, &format!("other-{at}"), 1).await?;
            let again = ask(run, request, op.clone()).await?;
            ensure!(
                (again.revision, &again.done) == (first.revision, &first.done),
                "first answered {first:?}, then {again:?}"
            );
            run.cluster.boot(old).await?;
            until_settled(run, 30).await?;
        }
        let view = run.cluster.node(leader_of(run)?)?.view();
        let service = view.services.get(&id).context("the service")?;
        ensure!(service.meta.version.0 == first.revision.0, "it was changed again");
        run.settle().await
    }
    .boxed()
}

/// Asks the leader.
async fn ask(run: &Run, request: RequestId, op: Op) -> anyhow::Result<Applied> {
    let node = run.cluster.node(leader_of(run)?)?;
    let caller = Actor { node: node.core().id, uid: Some(0) };
    Ok(node.propose(caller, request, op).await?)
}
