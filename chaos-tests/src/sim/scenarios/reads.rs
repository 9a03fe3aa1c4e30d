//! Linearizable reads through a node that is cut off: they fail, they are not old.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::FutureExt;
use futures::future::BoxFuture;
use swarm_node::api::backend::Backend;
use tokio::time::sleep;

use super::super::run::Run;
use super::{create, leader_of, new_leader, others, until_settled};

/// Longer than a leader that hears nobody goes on leading.
const UNTIL_DEPOSED: Duration = Duration::from_secs(3);

/// First a follower misses a write, then a leader does, who still takes itself for one.
pub(super) fn cut_off(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        let leader = leader_of(run)?;
        let follower = *others(run, &[leader]).first().context("five nodes")?;
        for (at, victim) in [follower, leader].into_iter().enumerate() {
            let rest = others(run, &[victim]);
            run.cluster.partition(&[victim], &rest)?;
            run.cluster.world.count("fault: partition");
            new_leader(run, &rest, victim, 5).await?;
            create(run, &format!("written-meanwhile-{at}"), 1).await?;
            let newest = run.cluster.node(leader_of(run)?)?.view().revision;
            let cut_off = run.cluster.node(victim)?;
            for _ in 0..3 {
                if let Ok(revision) = cut_off.read_barrier().await {
                    let shown = cut_off.view().revision;
                    ensure!(
                        shown >= newest,
                        "L: n{victim}, cut off, read at {revision} and shows {shown} after {newest}"
                    );
                }
                sleep(UNTIL_DEPOSED).await;
            }
            run.cluster.heal();
            until_settled(run, 30).await?;
        }
        run.settle().await
    }
    .boxed()
}
