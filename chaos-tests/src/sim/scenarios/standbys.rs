//! Managers beyond those that vote stand by: one takes the place of a voter that is gone, by itself,
//! and in its zone, so that the voters stay spread.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::FutureExt;
use futures::future::BoxFuture;
use swarm_model::cluster::ClusterSpec;
use swarm_model::command::Op;
use swarm_model::id::NodeId;
use swarm_model::node::{Availability, NodeSpec, Role};
use swarm_node::api::backend::Backend as _;
use swarm_raft::membership::REPLACE_AFTER;
use tokio::time::sleep;

use super::{agree, goes_on, leader_of, until_settled};
use crate::sim::cluster::Kill;
use crate::sim::converge::wait_until;
use crate::sim::faults::leader;
use crate::sim::run::Run;

const ZONES: [&str; 3] = ["a", "b", "c"];

/// Which machine is in which zone.
type Zones = BTreeMap<u32, &'static str>;

/// Three of six managers vote, a zone each. Two of those die one after the other, more than three voters
/// survive: but each has been replaced before the next one goes.
pub(super) fn take_votes(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        let view = run.cluster.node(1)?.view();
        let spec = view.cluster.as_ref().context("a founded cluster")?.spec.clone();
        agree(
            run,
            Op::UpdateCluster { version: None, spec: ClusterSpec { max_voters: 3, ..spec } },
        )
        .await?;
        let mut zones = Zones::new();
        for (number, zone) in (1..).zip(ZONES) {
            settle_in(run, number, zone, &mut zones).await?;
        }
        let mut standbys = ZONES;
        run.chance.shuffle(&mut standbys);
        for zone in standbys {
            let number = run.cluster.join(Role::Manager).await?;
            settle_in(run, number, zone, &mut zones).await?;
        }
        until_settled(run, 30).await?;
        ensure!(voters(run)? == ids(run, &[1, 2, 3])?, "those that joined later vote");
        run.start_clients(2);
        let dead = [one_is_replaced(run, &zones).await?, one_is_replaced(run, &zones).await?];
        let voting = voters(run)?;
        for number in dead {
            run.cluster.boot(number).await?;
        }
        until_settled(run, 30).await?;
        goes_on(run, 5, 10, "with all of them back").await?;
        ensure!(voters(run)? == voting, "who came back took a vote away");
        run.settle().await
    }
    .boxed()
}

/// Says which zone a machine is in.
async fn settle_in(
    run: &mut Run,
    number: u32,
    zone: &'static str,
    zones: &mut Zones,
) -> anyhow::Result<()> {
    let labels = BTreeMap::from([("zone".to_owned(), zone.to_owned())]);
    let spec = NodeSpec { role: Role::Manager, availability: Availability::Active, labels };
    let id = run.cluster.id(number)?;
    agree(run, Op::UpdateNode { id, version: None, spec, drain_deadline: None }).await?;
    zones.insert(number, zone);
    Ok(())
}

fn ids(run: &Run, numbers: &[u32]) -> anyhow::Result<BTreeSet<NodeId>> {
    numbers.iter().map(|number| run.cluster.id(*number)).collect()
}

fn voters(run: &Run) -> anyhow::Result<BTreeSet<NodeId>> {
    let leading = run.cluster.node(leader_of(run)?)?;
    Ok(leading.core().consensus.status_now().voters)
}

/// Kills one of the voters in whose zone somebody stands by, and waits until that one votes instead.
async fn one_is_replaced(run: &mut Run, zones: &Zones) -> anyhow::Result<u32> {
    let before = voters(run)?;
    let (mut voting, mut standing_by) = (Vec::new(), Vec::new());
    for number in zones.keys().copied().filter(|number| run.cluster.is_up(*number)) {
        let votes = before.contains(&run.cluster.id(number)?);
        if votes { voting.push(number) } else { standing_by.push(number) }
    }
    let beside = |voter: &u32| standing_by.iter().copied().find(|it| zones[it] == zones[voter]);
    let pairs: Vec<_> = voting.iter().filter_map(|it| Some((*it, beside(it)?))).collect();
    let (dead, next) = *run.chance.pick(&pairs).context("nobody stands by in a voter's zone")?;
    let how = if run.chance.percent(50) { Kill::Power } else { Kill::Process };
    run.cluster.kill(dead, how).await?;
    sleep(REPLACE_AFTER).await;
    ensure!(voters(run)? == before, "n{dead} lost its vote before it was silent for so long");
    voting.retain(|number| *number != dead);
    voting.push(next);
    let wanted = ids(run, &voting)?;
    let what = format!("n{next} to vote for n{dead}, which is in its zone");
    wait_until(&run.cluster, &what, Duration::from_secs(15), || {
        let number = leader(&run.cluster).ok_or("nobody leads")?;
        let node = run.cluster.node(number).map_err(|error| error.to_string())?;
        let voters = node.core().consensus.status_now().voters;
        if voters == wanted { Ok(()) } else { Err(format!("{voters:?} vote, not {wanted:?}")) }
    })
    .await?;
    goes_on(run, 3, 5, &format!("without n{dead}")).await?;
    Ok(dead)
}
