//! A running node's part in recoveries and backups: what it tells, what it hands over.
//!
//! Whether there is a quorum is asked by who calls; the step itself is in [`crate::recover`].

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use swarm_model::id::NodeId;
use swarm_model::meta::Revision;
use swarm_net::gossip::{Liveness, StatusKey};

use crate::api::backend::ProposeError;
use crate::api::types::RecoveryReport;
use crate::backup::{self, Facts};
use crate::core::Core;
use crate::quarantine;
use crate::recover::{Order, Survivor};

/// How long the answer to a person takes to get out before this life ends.
const ANSWER_TIME: Duration = Duration::from_millis(200);

fn unfit(reason: impl Into<String>) -> ProposeError {
    ProposeError::Forbidden { reason: reason.into() }
}

/// By the marker, not by what is said of it: a node that waits for its lost majority says so as well.
async fn fit(core: &Core) -> Result<(), ProposeError> {
    if let Some(reason) = &core.fence {
        return Err(unfit(reason));
    }
    let dir = core.data_dir.clone();
    let marker = core.work.run(move || quarantine::read(&dir)).await;
    let marker = marker.map_err(|error| ProposeError::Unavailable { reason: error.to_string() })?;
    if let Some(quarantine) = marker {
        let reason = quarantine.reason;
        return Err(unfit(format!("this node's replica is not to be trusted: {reason}")));
    }
    if core.keys.keys().is_none() {
        return Err(unfit("this node holds no CA key: run the command on a manager"));
    }
    Ok(())
}

/// What this node holds, and what going on alone would mean.
pub(crate) async fn report(core: &Core) -> Result<RecoveryReport, ProposeError> {
    fit(core).await?;
    let view = core.consensus.view();
    let status = core.consensus.status_now();
    let heard = heard(core);
    let silent = match status.is_leader() {
        true => status.quorum_acked,
        false => core.consensus.leader_silent(),
    };
    let survivor = Survivor {
        view: &view,
        me: core.id,
        term: status.term,
        last: status.last_log.max(Revision(view.revision.0)),
        committed: view.revision,
        voters: &status.voters,
        heard: &heard,
        silent_ms: silent.map(|silent| u64::try_from(silent.as_millis()).unwrap_or(u64::MAX)),
        newest: None,
    };
    Ok(survivor.report())
}

/// The nodes that gossip hears.
fn heard(core: &Core) -> BTreeSet<NodeId> {
    let members = core.gossip.members();
    let members = members.borrow();
    let alive = members.iter().filter(|(_, info)| info.liveness == Liveness::Alive);
    alive.map(|(id, _)| *id).collect()
}

/// How many of the voters are there to agree: this one, and those heard that are not in quarantine.
fn able(me: NodeId, voters: &BTreeSet<NodeId>, heard: &BTreeSet<NodeId>) -> usize {
    voters.iter().filter(|id| **id == me || heard.contains(id)).count()
}

/// Has this life end and the next one begin as the only voter.
pub(crate) async fn order(core: &Core, lost: BTreeSet<NodeId>) -> Result<(), ProposeError> {
    let now: BTreeSet<_> = report(core).await?.lost.iter().map(|member| member.node_id).collect();
    let mut heard = heard(core);
    heard.retain(|id| !core.gossip.status(*id).contains_key(&StatusKey::Quarantine));
    let voters = core.consensus.status_now().voters;
    let able = able(core.id, &voters, &heard);
    if able > voters.len() / 2 {
        let reason = format!(
            "{able} of {} voters are heard, a majority: wait until they agree on a leader. If they \
             never do, stop this node's daemon; `swarm init --force-new-cluster` asks nobody",
            voters.len()
        );
        return Err(ProposeError::Unavailable { reason });
    }
    if now != lost {
        let reason = "other managers are heard now than were shown: look again, then decide";
        return Err(ProposeError::Unavailable { reason: reason.to_owned() });
    }
    let draw = u64::try_from(core.draw() >> 64).unwrap_or_default();
    let order = Order { lost, at: core.clock.now(), draw };
    *core.order.lock().unwrap_or_else(PoisonError::into_inner) = Some(order);
    let born_again = core.born_again.clone();
    core.tasks.spawn("recovery", async move {
        tokio::time::sleep(ANSWER_TIME).await;
        born_again.cancel();
    });
    Ok(())
}

/// Everything that a cluster can be founded from anew.
pub(crate) async fn backup(core: &Core, stale: bool) -> Result<Vec<u8>, ProposeError> {
    fit(core).await?;
    let keys = core.keys.keys().ok_or_else(|| unfit("this node holds no CA key"))?;
    let unavailable = |error: &dyn std::fmt::Display| ProposeError::Unavailable {
        reason: format!("the state cannot be exported: {error}"),
    };
    let (machine, at) = core.consensus.export().await.map_err(|error| unavailable(&error))?;
    let facts = Facts { node: core.id, at: core.clock.now(), stale };
    let made = core.work.run(move || backup::make(&machine, at, &keys, &facts)).await;
    made.map_err(|error| unavailable(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn majority_that_is_heard_is_counted_with_this_node() {
        let ids = |raw: &[u128]| raw.iter().copied().map(NodeId::from_raw).collect();
        let able = |heard: &[u128]| able(NodeId::from_raw(1), &ids(&[1, 2, 3]), &ids(heard));
        assert_eq!(able(&[]), 1);
        // One that has no vote does not count.
        assert_eq!(able(&[4, 5]), 1);
        assert_eq!(able(&[1, 2]), 2);
    }
}
