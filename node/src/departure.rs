//! The leader's end of a leave: a node's tasks move, then its vote goes, then its membership. Finished
//! or undone, also when the node that asked is gone meanwhile.
//!
//! A leader that loses the lead half-way cannot undo: the leaving node asks the next one to finish.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use swarm_model::command::{Actor, Op};
use swarm_model::id::{NodeId, RequestId};
use swarm_model::node::{Availability, NodeSpec, Role};
use swarm_model::outcome::Rejection;
use swarm_net::frame;
use swarm_net::rpc::{Refusal, RefusalCode};
use swarm_net::transport::Peer;
use tokio::sync::watch;

use crate::core::Core;
use crate::leader::Leadership;
use crate::leave::Farewell;

/// How long tasks may take to move; then the node leaves all the same.
const MOVE_TASKS: Duration = Duration::from_secs(30);
/// How long a vote may take to go.
const GIVE_UP_VOTE: Duration = Duration::from_secs(20);
/// One step of undoing.
const UNDO_ATTEMPT: Duration = Duration::from_secs(3);
/// How often undoing is tried.
const UNDO_ATTEMPTS: u32 = 3;
/// The longest that a departure takes, undoing included: each of its three commands may wait 10 s.
pub(crate) const LONGEST: Duration = Duration::from_secs(30 + 20 + 30 + 9);

/// Why a step of a departure was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// This node does not lead any more, or has no majority: another one may.
    #[error(transparent)]
    Lead(swarm_raft::Error),
    /// Another leader would not do better.
    #[error("{0}")]
    Because(String),
}

impl From<swarm_raft::Error> for Failed {
    fn from(error: swarm_raft::Error) -> Self {
        use swarm_raft::Error;
        match error {
            Error::NotLeader { .. } | Error::NoQuorum { .. } | Error::Unknown { .. } => {
                Self::Lead(error)
            }
            other => Self::Because(other.to_string()),
        }
    }
}

/// How a departure ended.
type Ended = Result<(), Refusal>;

/// The departures that one term of a leader is busy with: who asks again joins the one under way.
#[derive(Debug, Default)]
pub(crate) struct Departures {
    under_way: Mutex<BTreeMap<NodeId, watch::Receiver<Option<Ended>>>>,
}

impl Departures {
    /// The departure of `node`; whoever asked first gets the sender and has to see to it.
    fn enter(
        &self,
        node: NodeId,
    ) -> (watch::Receiver<Option<Ended>>, Option<watch::Sender<Option<Ended>>>) {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ended) = under_way.get(&node) {
            return (ended.clone(), None);
        }
        let (sender, ended) = watch::channel(None);
        under_way.insert(node, ended.clone());
        (ended, Some(sender))
    }

    /// Whether any node is leaving.
    pub(crate) fn any(&self) -> bool {
        !self.under_way.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn done(&self, node: NodeId) {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&node);
    }
}

/// Answers a leaving node when it has left, or when everything is as it was.
///
/// # Errors
/// [`RefusalCode::Conflict`] when it did not leave and asking again is of no use; other codes when
/// another leader should be asked.
pub(crate) async fn serve(core: Arc<Core>, from: Peer, body: Bytes) -> Result<Bytes, Refusal> {
    let farewell: Farewell = frame::decode(&body)
        .map_err(|error| Refusal::new(RefusalCode::Malformed, error.to_string()))?;
    let Some(leadership) = core.leadership.borrow().clone() else { return Err(not_leader()) };
    let (mut ended, mine) = leadership.departures.enter(from.node_id);
    if let Some(tell) = mine {
        // Not dropped with the caller's connection: half a departure is worse than none.
        core.tasks.clone().spawn("departure", async move {
            let ended = tokio::select! {
                ended = depart(&core, &leadership, from.node_id, farewell) => ended,
                () = leadership.ended.cancelled() => Err(not_leader()),
            };
            leadership.departures.done(from.node_id);
            tell.send_replace(Some(ended));
        });
    }
    match ended.wait_for(Option::is_some).await.map(|ended| ended.clone()) {
        Ok(Some(Ok(()))) => Ok(Bytes::new()),
        Ok(Some(Err(refusal))) => Err(refusal),
        Ok(None) | Err(_) => Err(not_leader()),
    }
}

fn not_leader() -> Refusal {
    Refusal::new(RefusalCode::NotLeader, "this node does not lead")
}

async fn depart(core: &Core, leadership: &Leadership, node: NodeId, farewell: Farewell) -> Ended {
    let Some(before) = spec_of(core, node) else { return Ok(()) };
    let actor = Actor { node, ..farewell.actor.clone() };
    let Err(failed) = part(core, node, &actor, farewell).await else { return Ok(()) };
    tracing::warn!(node_id = %node, reason = %failed, "a node could not leave");
    // The end of a term is told a little later than changes begin to fail for it.
    let Failed::Because(reason) = failed else { return Err(not_leader()) };
    if leadership.ended.is_cancelled() || spec_of(core, node).is_none() {
        return Err(not_leader());
    }
    undo(core, node, &actor, &before).await;
    Err(Refusal::new(RefusalCode::Conflict, reason))
}

pub(crate) fn spec_of(core: &Core, node: NodeId) -> Option<NodeSpec> {
    core.consensus.view().nodes.get(&node).map(|node| node.spec.clone())
}

/// The three steps.
async fn part(core: &Core, node: NodeId, actor: &Actor, farewell: Farewell) -> Result<(), Failed> {
    if is_last_manager(core, node) {
        return Err(refused(&Rejection::LastManager { node }));
    }
    drain(core, node, actor).await?;
    give_up_vote(core, node).await?;
    let op = Op::RemoveNode { id: node, force: true };
    let command = core.command_of(actor.clone(), farewell.request, op);
    let applied = core.consensus.propose(&command).await?;
    applied.outcome.map(drop).map_err(|rejection| refused(&rejection))
}

fn refused(rejection: &Rejection) -> Failed {
    Failed::Because(rejection.to_string())
}

fn is_last_manager(core: &Core, node: NodeId) -> bool {
    let view = core.consensus.view();
    !view.nodes.values().any(|other| other.id != node && other.spec.role == Role::Manager)
}

/// Moves the tasks away, for as long as that is reasonable.
async fn drain(core: &Core, node: NodeId, actor: &Actor) -> Result<(), Failed> {
    let deadline = Some(core.clock.now().after(MOVE_TASKS / 2));
    update(core, node, actor, deadline, |spec| spec.availability = Availability::Drain).await?;
    let mut views = core.consensus.views();
    let empty = views.wait_for(|view| view.tasks_on(node).next().is_none());
    if tokio::time::timeout(MOVE_TASKS, empty).await.is_err() {
        tracing::warn!(node_id = %node, "letting a node leave although tasks still run there");
    }
    Ok(())
}

/// A leaving manager becomes a worker first: the leader's choice of voters does the rest.
pub(crate) async fn give_up_vote(core: &Core, node: NodeId) -> Result<(), Failed> {
    let own = Actor { node: core.id, uid: None };
    update(core, node, &own, None, |spec| spec.role = Role::Worker).await?;
    let mut status = core.consensus.status();
    let gone = status.wait_for(|status| !status.joint && !status.voters.contains(&node));
    match tokio::time::timeout(GIVE_UP_VOTE, gone).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => {
            Err(Failed::Because("the voters could not be changed in time".to_owned()))
        }
    }
}

/// Makes `node` what it was before it wanted to leave.
pub(crate) async fn undo(core: &Core, node: NodeId, actor: &Actor, before: &NodeSpec) {
    for _ in 0..UNDO_ATTEMPTS {
        let restored = update(core, node, actor, None, |spec| {
            spec.role = before.role;
            spec.availability = before.availability;
        });
        match tokio::time::timeout(UNDO_ATTEMPT, restored).await {
            Ok(Ok(())) => return,
            Ok(Err(reason)) => {
                tracing::warn!(node_id = %node, %reason, "a leave could not be undone yet");
            }
            Err(_late) => tracing::warn!(node_id = %node, "a leave could not be undone in time"),
        }
    }
}

/// Changes what is wanted of `node`, and nothing else of it; fine when it is gone.
async fn update(
    core: &Core,
    node: NodeId,
    actor: &Actor,
    drain_deadline: Option<swarm_model::units::Timestamp>,
    change: impl FnOnce(&mut NodeSpec),
) -> Result<(), Failed> {
    let Some(mut spec) = spec_of(core, node) else { return Ok(()) };
    let before = spec.clone();
    change(&mut spec);
    if spec == before && drain_deadline.is_none() {
        return Ok(());
    }
    let op = Op::UpdateNode { id: node, version: None, spec, drain_deadline };
    let request = RequestId::from_raw(core.draw());
    let command = core.command_of(actor.clone(), request, op);
    let applied = core.consensus.propose(&command).await?;
    applied.outcome.map(drop).map_err(|rejection| refused(&rejection))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_asks_again_joins_the_departure_under_way() {
        let (departures, node) = (Departures::default(), NodeId::from_raw(1));
        let (_, first) = departures.enter(node);
        let (mut second, nothing) = departures.enter(node);
        assert!(nothing.is_none());
        departures.done(node);
        first.expect("the first one sees to it").send_replace(Some(Err(not_leader())));
        let ended = second.wait_for(Option::is_some).await.expect("told").clone();
        assert_eq!(ended, Some(Err(not_leader())));
        assert!(departures.enter(node).1.is_some(), "a later one starts anew");
    }
}
