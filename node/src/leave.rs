//! How a node leaves: its tasks move first, then its vote goes, then its membership.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use swarm_model::command::{Actor, Op};
use swarm_model::id::{NodeId, RequestId};
use swarm_model::node::{Availability, Role};
use swarm_net::frame;
use swarm_net::rpc::{Method, Refusal, RefusalCode};
use swarm_net::transport::{CallError, Peer};
use tokio::time::Instant;

use crate::api::backend::ProposeError;
use crate::core::Core;
use crate::propose;

/// How long tasks may take to move; then the node leaves all the same.
const MOVE_TASKS: Duration = Duration::from_secs(30);
/// How long a vote may take to go.
const GIVE_UP_VOTE: Duration = Duration::from_secs(20);
/// One call to the leader: it waits for the vote to go.
const CALL_DEADLINE: Duration = Duration::from_secs(25);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// What a leaving node asks of the leader, once its tasks are gone.
#[derive(Debug, Serialize, Deserialize)]
struct Farewell {
    actor: Actor,
    request: RequestId,
}

/// Leaves the cluster.
///
/// # Errors
/// When this is the last manager (without `force`), or the cluster does not answer (without `force`).
pub(crate) async fn leave(core: &Arc<Core>, actor: Actor, force: bool) -> Result<(), ProposeError> {
    let view = core.consensus.view();
    let others: Vec<_> = view.nodes.values().filter(|node| node.id != core.id).collect();
    let managers = others.iter().filter(|node| node.spec.role == Role::Manager).count();
    let manager = view.nodes.get(&core.id).is_some_and(|node| node.spec.role == Role::Manager);
    if manager && managers == 0 {
        if !force {
            let reason = "this is the last manager: promote another node first, or leave with \
                          --force, which ends the cluster"
                .to_owned();
            return Err(ProposeError::Forbidden { reason });
        }
        core.dismissed.cancel();
        return Ok(());
    }
    match depart(core, &actor).await {
        Err(error) if force => {
            tracing::warn!(%error, "leaving without the cluster's consent");
        }
        other => other?,
    }
    core.dismissed.cancel();
    Ok(())
}

async fn depart(core: &Core, actor: &Actor) -> Result<(), ProposeError> {
    drain(core, actor).await?;
    if core.consensus.status_now().is_leader() {
        // Nobody may be able to take over yet: the last voter has to bring in another one first.
        let gone = give_up_vote(core, core.id).await;
        gone.map_err(|reason| ProposeError::Unavailable { reason })?;
    }
    let started = Instant::now();
    let farewell = Farewell { actor: actor.clone(), request: RequestId::from_raw(core.draw()) };
    loop {
        let reason = match say(core, &farewell).await {
            Ok(()) => return Ok(()),
            Err(reason) => reason,
        };
        if started.elapsed() > GIVE_UP_VOTE {
            return Err(ProposeError::Unavailable {
                reason: format!("the cluster does not let this node go ({reason}): use --force"),
            });
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn say(core: &Core, farewell: &Farewell) -> Result<(), String> {
    let leader = core.leader().filter(|leader| *leader != core.id);
    let leader = leader.ok_or("no other node leads yet")?;
    let body = frame::encode(farewell);
    match core.transport.call(leader, Method::Leave, body, CALL_DEADLINE).await {
        Ok(_) => Ok(()),
        // It let us go before it could say so.
        Err(CallError::Refused(refusal)) if refusal.code == RefusalCode::Removed => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Moves the tasks away, for as long as that is reasonable.
async fn drain(core: &Core, actor: &Actor) -> Result<(), ProposeError> {
    let view = core.consensus.view();
    let Some(node) = view.nodes.get(&core.id) else { return Ok(()) };
    let mut spec = node.spec.clone();
    spec.availability = Availability::Drain;
    let deadline = Some(core.clock.now().after(MOVE_TASKS / 2));
    let op = Op::UpdateNode { id: core.id, version: None, spec, drain_deadline: deadline };
    let request = RequestId::from_raw(core.draw());
    propose::propose(core, actor.clone(), request, op).await?;
    let mut views = core.consensus.views();
    let empty = views.wait_for(|view| view.tasks_on(core.id).next().is_none());
    if tokio::time::timeout(MOVE_TASKS, empty).await.is_err() {
        tracing::warn!("leaving although tasks still run here");
    }
    Ok(())
}

/// Answers a leaving node: takes its vote, then its membership.
///
/// # Errors
/// When this node does not lead, or the change does not come about.
pub(crate) async fn serve(core: Arc<Core>, from: Peer, body: Bytes) -> Result<Bytes, Refusal> {
    let farewell: Farewell = frame::decode(&body)
        .map_err(|error| Refusal::new(RefusalCode::Malformed, error.to_string()))?;
    if !core.consensus.status_now().is_leader() {
        return Err(Refusal::new(RefusalCode::NotLeader, "this node does not lead"));
    }
    let refuse =
        |error: &dyn std::fmt::Display| Refusal::new(RefusalCode::Unavailable, error.to_string());
    give_up_vote(&core, from.node_id).await.map_err(|error| refuse(&error))?;
    let op = Op::RemoveNode { id: from.node_id, force: true };
    let actor = Actor { node: from.node_id, ..farewell.actor };
    let command = core.command_of(actor, farewell.request, op);
    let applied = core.consensus.propose(&command).await.map_err(|error| refuse(&error))?;
    match applied.outcome {
        Ok(_) => Ok(Bytes::new()),
        Err(rejection) => Err(Refusal::new(RefusalCode::Conflict, rejection.to_string())),
    }
}

/// A leaving manager becomes a worker first: the leader's choice of voters does the rest.
async fn give_up_vote(core: &Core, node: NodeId) -> Result<(), String> {
    let view = core.consensus.view();
    let Some(member) = view.nodes.get(&node) else { return Ok(()) };
    let mut spec = member.spec.clone();
    spec.role = Role::Worker;
    let op = Op::UpdateNode { id: node, version: None, spec, drain_deadline: None };
    let applied = core.consensus.propose(&core.own_command(op)).await;
    applied.map_err(|error| error.to_string())?.outcome.map_err(|error| error.to_string())?;
    let mut status = core.consensus.status();
    let gone = status.wait_for(|status| !status.joint && !status.voters.contains(&node));
    match tokio::time::timeout(GIVE_UP_VOTE, gone).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => Err("the voters could not be changed in time".to_owned()),
    }
}
