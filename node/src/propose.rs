//! Commands from any node to the leader, and reads that see everything acknowledged before them.
//!
//! A caller is answered within [`PATIENCE`] whatever happens to the leader meanwhile; a command keeps
//! its request id through all attempts, so it takes effect once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use swarm_model::command::{Actor, Command, Op};
use swarm_model::id::{NodeId, RequestId};
use swarm_model::meta::Revision;
use swarm_model::node::Role;
use swarm_model::outcome::{Done, Outcome};
use swarm_net::frame;
use swarm_net::rpc::{Method, Refusal, RefusalCode};
use swarm_net::transport::{CallError, Peer};
use swarm_raft::Error;
use swarm_state::mistake::{Mistake, planted};
use tokio::time::Instant;

pub(crate) use crate::api::backend::PATIENCE;
use crate::api::backend::{Applied, ProposeError, ReadError};
use crate::core::Core;

/// How long a linearizable read may take before the local replica answers instead.
pub(crate) const READ_PATIENCE: Duration = Duration::from_millis(1500);
/// One attempt to reach the leader.
const ATTEMPT: Duration = Duration::from_secs(3);
/// Pause between attempts.
const RETRY: Duration = Duration::from_millis(25);

/// Tells a full disk from a busy leader: waiting will not help.
const DISK_FULL: &[u8] = b"disk full";

/// A command on its way to the leader.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Forward {
    actor: Actor,
    request: RequestId,
    op: Op,
    #[serde(default)]
    if_revision: Option<Revision>,
}

/// The leader's answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Answer {
    revision: Revision,
    outcome: Outcome,
}

/// What became of one attempt.
enum Attempt {
    Answered(Revision, Outcome),
    /// Nothing happened: try again.
    Again,
    /// It may have happened: try again under the same request id.
    Unsure,
    Failed(ProposeError),
}

/// Has `op` agreed on, wherever the leader is.
///
/// # Errors
/// See [`ProposeError`].
pub(crate) async fn propose(
    core: &Core,
    actor: Actor,
    request: RequestId,
    op: Op,
) -> Result<Applied, ProposeError> {
    propose_if(core, None, actor, request, op, PATIENCE).await
}

/// The same within `patience`; refused when specs, nodes or configs changed after `if_revision`.
///
/// # Errors
/// See [`ProposeError`].
pub(crate) async fn propose_if(
    core: &Core,
    if_revision: Option<Revision>,
    actor: Actor,
    request: RequestId,
    op: Op,
    patience: Duration,
) -> Result<Applied, ProposeError> {
    if let Some(reason) = &core.fence {
        return Err(ProposeError::Unavailable { reason: reason.clone() });
    }
    let started = Instant::now();
    let mut unsure = false;
    let forward = Forward { actor, request, op, if_revision };
    loop {
        let left = patience.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Err(gave_up(core, patience, unsure));
        }
        match attempt(core, &forward, left).await {
            Attempt::Answered(revision, outcome) => {
                let done: Done = outcome?;
                return Ok(Applied { revision, done });
            }
            Attempt::Again => {}
            Attempt::Unsure => unsure = true,
            Attempt::Failed(error) => return Err(error),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// A voter without disk space neither leads nor follows: then that is the reason to tell.
fn gave_up(core: &Core, waited: Duration, unsure: bool) -> ProposeError {
    match core.disk.check() {
        Ok(()) => ProposeError::NoQuorum { waited, may_apply: unsure },
        Err(reason) if unsure => {
            let reason = format!("{reason}; the change may still be made then");
            ProposeError::Unavailable { reason }
        }
        Err(reason) => ProposeError::Unavailable { reason },
    }
}

async fn attempt(core: &Core, forward: &Forward, left: Duration) -> Attempt {
    match core.leader() {
        Some(leader) if leader == core.id => {
            if let Err(reason) = core.disk.check() {
                return Attempt::Failed(ProposeError::Unavailable { reason });
            }
        }
        Some(leader) => return remote(core, leader, forward, left).await,
        None => return Attempt::Again,
    }
    match local(core, forward.clone(), left).await {
        Ok(applied) => Attempt::Answered(applied.revision, applied.outcome),
        Err(Error::NotLeader { .. }) => Attempt::Again,
        Err(Error::TooLarge { size, limit }) => {
            Attempt::Failed(ProposeError::TooLarge { size, limit })
        }
        Err(Error::Stopped { reason }) => Attempt::Failed(ProposeError::Unavailable { reason }),
        // Done, as far as this leader knows.
        Err(Error::Unknown { .. }) if planted(Mistake::AnswerBeforeCommit) => {
            Attempt::Answered(core.consensus.view().revision, Ok(Done::Nothing))
        }
        Err(_) => Attempt::Unsure,
    }
}

async fn local(
    core: &Core,
    forward: Forward,
    left: Duration,
) -> Result<swarm_raft::Applied, Error> {
    let Forward { actor, request, op, if_revision } = forward;
    let command = Command { if_revision, ..core.command_of(actor, request, op) };
    let left = if planted(Mistake::AnswerBeforeCommit) { Duration::ZERO } else { left };
    core.consensus.propose_within(&command, left).await
}

async fn remote(core: &Core, leader: NodeId, forward: &Forward, left: Duration) -> Attempt {
    let until = Instant::now() + left.min(ATTEMPT);
    let left = || until.saturating_duration_since(Instant::now());
    // What was never sent cannot have happened: that must not count as unsure.
    let connect = core.transport.connect(leader, Method::Propose, left());
    match while_leading(core, leader, connect).await {
        Some(Ok(())) => {}
        Some(Err(_)) | None => return Attempt::Again,
    }
    let call = core.transport.call(leader, Method::Propose, frame::encode(forward), left());
    let Some(answer) = while_leading(core, leader, call).await else { return Attempt::Unsure };
    match answer {
        Ok(bytes) => match frame::decode::<Answer>(&bytes) {
            Ok(answer) => Attempt::Answered(answer.revision, answer.outcome),
            Err(error) => Attempt::Failed(ProposeError::Unavailable { reason: error.to_string() }),
        },
        Err(CallError::Refused(refusal)) if refusal.code == RefusalCode::NotAllowed => {
            Attempt::Failed(ProposeError::Forbidden { reason: refusal.message })
        }
        Err(CallError::Refused(refusal)) if *refusal.detail == *DISK_FULL => {
            Attempt::Failed(ProposeError::Unavailable { reason: refusal.message })
        }
        Err(CallError::TooLarge { size, limit }) => {
            Attempt::Failed(ProposeError::TooLarge { size, limit })
        }
        Err(error) if error.may_have_executed() => Attempt::Unsure,
        Err(_) => Attempt::Again,
    }
}

/// Waits for an answer of `leader`, but no longer than it is the leader: a dead one never answers.
async fn while_leading<T>(
    core: &Core,
    leader: NodeId,
    answer: impl Future<Output = T>,
) -> Option<T> {
    let mut status = core.consensus.status();
    tokio::select! {
        answer = answer => Some(answer),
        _ = status.wait_for(|status| status.leader != Some(leader)) => None,
    }
}

/// Answers another node's [`Method::Propose`].
///
/// # Errors
/// When this node does not lead, or the caller may not ask for that.
pub(crate) async fn serve(core: Arc<Core>, from: Peer, body: Bytes) -> Result<Bytes, Refusal> {
    let mut forward: Forward = frame::decode(&body)
        .map_err(|error| Refusal::new(RefusalCode::Malformed, error.to_string()))?;
    // Who calls is what the certificate says, not what the body says.
    if !planted(Mistake::TrustBody) {
        forward.actor.node = from.node_id;
    }
    permit(from, &forward.op)?;
    core.disk.check().map_err(|full| {
        Refusal::new(RefusalCode::Busy, full).with_detail(Bytes::from_static(DISK_FULL))
    })?;
    match local(&core, forward, ATTEMPT).await {
        Ok(applied) => {
            Ok(frame::encode(&Answer { revision: applied.revision, outcome: applied.outcome }))
        }
        Err(error @ Error::NotLeader { .. }) => {
            Err(Refusal::new(RefusalCode::NotLeader, error.to_string()))
        }
        Err(Error::TooLarge { size, limit }) => Err(Refusal::new(
            RefusalCode::TooLarge,
            format!("{size} bytes are over the limit of {limit} bytes of one change"),
        )),
        Err(error) => Err(Refusal::new(RefusalCode::TimedOut, error.to_string())),
    }
}

/// What nodes may ask of the leader: deny by default. The cluster's own work comes from the leader
/// itself, and membership is a matter of managers.
fn permit(from: Peer, op: &Op) -> Result<(), Refusal> {
    let allowed = match op {
        Op::CreateService { .. }
        | Op::UpdateService { .. }
        | Op::RemoveService { .. }
        | Op::RollbackService { .. }
        | Op::PauseUpdate { .. }
        | Op::PromoteUpdate { .. }
        | Op::Evict { .. }
        | Op::StartRun { .. }
        | Op::StopRun { .. }
        | Op::CreateConfig { .. }
        | Op::UpdateConfig { .. }
        | Op::RemoveConfig { .. } => true,
        Op::UpdateNode { .. }
        | Op::UpdateCluster { .. }
        | Op::RotateToken { .. }
        | Op::CreateToken { .. }
        | Op::RemoveNode { .. } => from.role == Role::Manager,
        Op::InitCluster { .. }
        | Op::AddNode(_)
        | Op::DescribeNode { .. }
        | Op::SetReachability { .. }
        | Op::ReportStatus { .. }
        | Op::ApplyPlan { .. } => false,
    };
    if allowed {
        return Ok(());
    }
    let message = "nodes and tokens are managed from manager nodes: run the command on one of them";
    Err(Refusal::new(RefusalCode::NotAllowed, message))
}

/// Waits until the local view holds everything that was acknowledged before the call.
///
/// # Errors
/// When no leader with a majority confirms it in time.
pub(crate) async fn read_barrier(core: &Core) -> Result<Revision, ReadError> {
    if planted(Mistake::ServeReadsLocally) {
        return Ok(core.consensus.view().revision);
    }
    let barrier = async {
        loop {
            if let Some(revision) = confirmed(core).await {
                return revision;
            }
            tokio::time::sleep(RETRY).await;
        }
    };
    tokio::time::timeout(READ_PATIENCE, barrier).await.map_err(|_late| ReadError::NoQuorum)
}

async fn confirmed(core: &Core) -> Option<Revision> {
    let leader = core.leader()?;
    if leader == core.id {
        return core.consensus.read_index(READ_PATIENCE).await.ok();
    }
    let call = core.transport.call(leader, Method::ReadIndex, Bytes::new(), READ_PATIENCE);
    let answer = while_leading(core, leader, call).await?;
    let revision: Revision = frame::decode(&answer.ok()?).ok()?;
    core.consensus.wait_applied(revision, READ_PATIENCE).await.ok()?;
    Some(revision)
}

/// Answers another node's [`Method::ReadIndex`].
///
/// # Errors
/// When this node does not lead, or cannot be sure of it.
pub(crate) async fn serve_read_index(core: Arc<Core>) -> Result<Bytes, Refusal> {
    match core.consensus.read_index(READ_PATIENCE).await {
        Ok(revision) => Ok(frame::encode(&revision)),
        Err(error @ Error::NotLeader { .. }) => {
            Err(Refusal::new(RefusalCode::NotLeader, error.to_string()))
        }
        Err(error) => Err(Refusal::new(RefusalCode::Unavailable, error.to_string())),
    }
}

/// What travels here, for the fuzz driver.
pub(crate) mod fuzz {
    use swarm_model::fuzz::{Target, sample};
    use swarm_model::outcome::{Kind, Rejection};
    use swarm_net::fuzz::message;

    use super::{Answer, Forward, Revision, frame};

    /// What a node asks of the leader.
    pub(crate) const FORWARD: Target = Target::new("node.propose", message::<Forward>, || {
        let forward = |op| {
            let command = sample::command(op);
            let request = command.request.expect("has one");
            let (actor, op) = (command.actor, command.op);
            // One of them asks for more than the former format could say.
            let if_revision = matches!(op, super::Op::RemoveService { .. }).then_some(Revision(7));
            frame::encode(&Forward { actor, request, op, if_revision }).to_vec()
        };
        sample::ops().into_iter().map(forward).collect()
    });
    /// What the leader answers.
    pub(crate) const ANSWER: Target = Target::new("node.propose-answer", message::<Answer>, || {
        let taken = Rejection::NameTaken { kind: Kind::Service, name: "web".to_owned() };
        vec![frame::encode(&Answer { revision: Revision(7), outcome: Err(taken) }).to_vec()]
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use swarm_model::cluster::ClusterSpec;
    use swarm_model::config::ConfigSpec;
    use swarm_model::id::{ClusterId, ConfigId, Incarnation, ServiceId, TokenId};
    use swarm_model::node::{Availability, NodeDescription, NodeSpec, Reachability};

    fn check(op: &Op, worker: bool, manager: bool) {
        let may = |role| {
            let addr = "127.0.0.1:1".parse().expect("valid");
            permit(Peer { node_id: NodeId::from_raw(1), role, addr }, op)
        };
        assert_eq!(may(Role::Worker).is_ok(), worker, "{op:?}");
        assert_eq!(may(Role::Manager).is_ok(), manager, "{op:?}");
        if let Err(refusal) = may(Role::Worker) {
            assert_eq!(refusal.code, RefusalCode::NotAllowed);
        }
    }

    fn update(id: u128, role: Role, availability: Availability) -> Op {
        let spec = NodeSpec { role, availability, labels: BTreeMap::new() };
        Op::UpdateNode { id: NodeId::from_raw(id), version: None, spec, drain_deadline: None }
    }

    #[test]
    fn every_node_may_pass_on_what_its_users_want_of_services() {
        let (service, config) = (ServiceId::from_raw(1), ConfigId::from_raw(1));
        check(&Op::RemoveService { id: service }, true, true);
        check(&Op::RollbackService { id: service, version: None, to: None }, true, true);
        check(&Op::PauseUpdate { id: service, paused: true }, true, true);
        check(&Op::StartRun { id: service }, true, true);
        check(&Op::StopRun { id: service, run: None }, true, true);
        check(&Op::PromoteUpdate { id: service }, true, true);
        check(&Op::RemoveConfig { id: config }, true, true);
        let data = Vec::new().into();
        let spec = ConfigSpec { name: "a".parse().expect("valid"), labels: BTreeMap::new(), data };
        check(&Op::CreateConfig { id: config, spec }, true, true);
    }

    #[test]
    fn membership_is_a_matter_of_managers() {
        let id = NodeId::from_raw(1);
        check(&Op::RemoveNode { id, force: true }, false, true);
        check(&Op::RotateToken { role: Role::Manager }, false, true);
        check(&Op::UpdateCluster { version: None, spec: ClusterSpec::default() }, false, true);
        // Neither its own role nor its own availability is for a worker to change.
        check(&update(1, Role::Manager, Availability::Active), false, true);
        check(&update(1, Role::Worker, Availability::Drain), false, true);
    }

    #[test]
    fn the_cluster_s_own_work_is_nobody_s_to_ask_for() {
        let (id, incarnation) = (NodeId::from_raw(1), Incarnation::from_raw(1));
        let (reachability, message) = (Reachability::Down, String::new());
        check(&Op::SetReachability { id, incarnation, reachability, message }, false, false);
        check(&Op::ReportStatus { node: id, reports: Vec::new() }, false, false);
        let (description, addr) = (NodeDescription::default(), String::new());
        check(&Op::DescribeNode { id, incarnation, description, addr }, false, false);
        let node = swarm_model::command::NewNode {
            id,
            spec: NodeSpec {
                role: Role::Manager,
                availability: Availability::Active,
                labels: BTreeMap::new(),
            },
            description: NodeDescription::default(),
            addr: String::new(),
            token: Some(TokenId::from_raw(1)),
        };
        let (ca_certificate, spec) = (Vec::new(), ClusterSpec::default());
        let op = Op::InitCluster {
            id: ClusterId::from_raw(1),
            spec,
            ca_certificate,
            node: node.clone(),
        };
        check(&op, false, false);
        check(&Op::AddNode(node), false, false);
    }
}
