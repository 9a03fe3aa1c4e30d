//! 15 of the catalogue: one lane between two nodes is cut while all others are whole. On a real network
//! they share one encrypted flow, and nobody outside can tell them apart.

use anyhow::{Context as _, ensure};
use futures::FutureExt;
use futures::future::BoxFuture;
use swarm_model::node::Reachability;
use swarm_net::rpc::Lane;
use swarm_node::api::backend::Backend as _;
use tokio::time::sleep;

use super::super::run::Run;
use super::{goes_on, heal_and_settle, leader_of, new_leader, others, until_settled};

/// Writes that must be acknowledged while a lane is cut.
const LEAST_WRITES: u64 = 5;
const CUT: &str = "with a lane cut";

/// Who does not gossip any more is called down; it keeps its vote, and nobody leads instead.
pub(super) fn gossip(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        run.start_clients(3);
        sleep(run.chance.millis(500, 2000)).await;
        let leading = leader_of(run)?;
        let term = run.cluster.node(leading)?.core().consensus.status_now().term;
        let followers = others(run, &[leading]);
        let number = run.chance.pick(&followers).copied().context("four followers")?;
        let rest = others(run, &[number]);
        run.cluster.cut_lane(number, &rest, Lane::Gossip)?;
        goes_on(run, 12, LEAST_WRITES, CUT).await?;
        let id = run.cluster.node(number)?.core().id;
        let view = run.cluster.node(leading)?.view();
        let member = view.nodes.get(&id).context("it is no member")?;
        ensure!(member.status.reachability == Reachability::Down, "the lane was not cut");
        let status = run.cluster.node(leading)?.core().consensus.status_now();
        ensure!(status.is_leader() && status.term == term, "the leader changed without need");
        heal_and_settle(run).await
    }
    .boxed()
}

/// A leader whose consensus reaches nobody is replaced although all see it alive; a follower like that
/// costs nothing.
pub(super) fn raft(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        run.start_clients(3);
        sleep(run.chance.millis(500, 2000)).await;
        let leading = leader_of(run)?;
        let rest = others(run, &[leading]);
        run.cluster.cut_lane(leading, &rest, Lane::Raft)?;
        new_leader(run, &rest, leading, 5).await?;
        goes_on(run, 10, LEAST_WRITES, CUT).await?;
        run.cluster.heal();
        until_settled(run, 30).await?;
        let leading = leader_of(run)?;
        let followers = others(run, &[leading]);
        let number = run.chance.pick(&followers).copied().context("four followers")?;
        run.cluster.cut_lane(number, &others(run, &[number]), Lane::Raft)?;
        goes_on(run, 12, LEAST_WRITES, CUT).await?;
        heal_and_settle(run).await
    }
    .boxed()
}
