//! A running node's part in recoveries and backups: what it tells, what it hands over.
//!
//! Whether there is a quorum is asked by who calls; the step itself is in [`crate::recover`].

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use swarm_model::id::NodeId;
use swarm_model::meta::Revision;
use swarm_net::gossip::Liveness;

use crate::api::backend::ProposeError;
use crate::api::types::RecoveryReport;
use crate::backup::{self, Facts};
use crate::core::Core;
use crate::recover::{Order, Survivor};

/// How long the answer to a person takes to get out before this life ends.
const ANSWER_TIME: Duration = Duration::from_millis(200);

fn unfit(reason: impl Into<String>) -> ProposeError {
    ProposeError::Forbidden { reason: reason.into() }
}

fn fit(core: &Core) -> Result<(), ProposeError> {
    if let Some(reason) = core.quarantine.borrow().as_ref() {
        return Err(unfit(format!("this node's replica is not to be trusted: {reason}")));
    }
    if core.keys.keys().is_none() {
        return Err(unfit("this node holds no CA key: run the command on a manager"));
    }
    Ok(())
}

/// What this node holds, and what going on alone would mean.
pub(crate) fn report(core: &Core) -> Result<RecoveryReport, ProposeError> {
    fit(core)?;
    let view = core.consensus.view();
    let status = core.consensus.status_now();
    let members = core.gossip.members();
    let heard: BTreeSet<NodeId> = {
        let members = members.borrow();
        let alive = members.iter().filter(|(_, info)| info.liveness == Liveness::Alive);
        alive.map(|(id, _)| *id).collect()
    };
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

/// Has this life end and the next one begin as the only voter.
pub(crate) fn order(core: &Core, lost: BTreeSet<NodeId>) -> Result<(), ProposeError> {
    fit(core)?;
    let now: BTreeSet<_> = report(core)?.lost.iter().map(|member| member.node_id).collect();
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
    fit(core)?;
    let keys = core.keys.keys().ok_or_else(|| unfit("this node holds no CA key"))?;
    let unavailable = |error: &dyn std::fmt::Display| ProposeError::Unavailable {
        reason: format!("the state cannot be exported: {error}"),
    };
    let (machine, at) = core.consensus.export().await.map_err(|error| unavailable(&error))?;
    let facts = Facts { node: core.id, at: core.clock.now(), stale };
    let made = core.work.run(move || backup::make(&machine, at, &keys, &facts)).await;
    made.map_err(|error| unavailable(&error))
}
