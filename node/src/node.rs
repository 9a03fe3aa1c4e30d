//! A running node, as its API and its tests see it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use ring::digest::{SHA256, digest};
use swarm_model::cluster::LimitedToken;
use swarm_model::command::{Actor, Op};
use swarm_model::event::Event;
use swarm_model::id::{NodeId, RequestId, TaskId, TokenId};
use swarm_model::meta::Revision;
use swarm_model::node::Role;
use swarm_model::units::Timestamp;
use swarm_model::view::View;
use swarm_net::ca::JoinToken;
use swarm_net::frame;
use swarm_net::gossip::{Liveness, StatusKey};
use swarm_net::rpc::Method;
use swarm_net::transport::MessageStream;
use swarm_state::feed::Gone;
use tokio::sync::watch;

use crate::agent::resources::cgroup_kind;
use crate::api::backend::{
    Applied, Backend, Consensus, Facts, LogsError, ProposeError, Reach, ReachError, ReadError,
    TaskLine,
};
use crate::api::local_logs;
use crate::api::types::{RecoveryReport, TokenRequest};
use crate::clocks::PeerClock;
use crate::core::Core;
use crate::keys::ManagerKeys;
use crate::logs::LogQuery;
use crate::reach::busy::TaskTop;
use crate::{clocks, epoch, leave, propose, reach, recovery, remote_logs};

/// How long the leader may take to tell how far the others are.
const LAG_DEADLINE: Duration = Duration::from_secs(1);

/// A running node. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Node {
    core: Arc<Core>,
}

impl Node {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// The shared parts.
    pub fn core(&self) -> &Arc<Core> {
        &self.core
    }

    fn manager_keys(&self) -> Result<Arc<ManagerKeys>, ProposeError> {
        let reason = "join tokens are known to managers only: run the command on a manager";
        let missing = || ProposeError::Forbidden { reason: reason.to_owned() };
        self.core.keys.keys().ok_or_else(missing)
    }
}

impl Backend for Node {
    fn facts(&self) -> Facts {
        let core = &self.core;
        let identity = core.identity.borrow();
        Facts {
            node_id: core.id,
            cluster_id: core.cluster_id,
            addr: core.addr.to_string(),
            hostname: core.description.hostname.clone(),
            role: identity.role(),
            data_dir: core.data_dir.clone(),
            certificate_expires_at: identity.expires_at(),
            cgroup: cgroup_kind().to_owned(),
            rival: epoch::rival(core),
            disk_bytes_written: bytes_written(),
            started_at: core.started_at,
        }
    }

    fn now(&self) -> Timestamp {
        self.core.clock.now()
    }

    fn draw_id(&self) -> u128 {
        self.core.draw()
    }

    fn view(&self) -> Arc<View> {
        self.core.consensus.view()
    }

    fn views(&self) -> watch::Receiver<Arc<View>> {
        self.core.consensus.views()
    }

    fn consensus(&self) -> Consensus {
        let status = self.core.consensus.status_now();
        Consensus {
            leader: status.leader,
            term: status.term,
            leader_silent: match status.is_leader() {
                true => status.quorum_acked,
                false => self.core.consensus.leader_silent(),
            },
            voters: status.voters,
            learners: status.learners,
        }
    }

    fn heard(&self) -> BTreeSet<NodeId> {
        let members = self.core.gossip.members();
        let heard = members.borrow();
        let alive = heard.iter().filter(|(_, info)| info.liveness == Liveness::Alive);
        alive.map(|(id, _)| *id).chain([self.core.id]).collect()
    }

    fn quarantined(&self) -> BTreeMap<NodeId, String> {
        let members = self.core.gossip.members();
        let others: Vec<NodeId> = members.borrow().keys().copied().collect();
        let said = |id: NodeId| {
            let status = self.core.gossip.status(id);
            let reason = status.get(&StatusKey::Quarantine)?;
            Some((id, String::from_utf8_lossy(reason).into_owned()))
        };
        let mut all: BTreeMap<_, _> = others.into_iter().filter_map(said).collect();
        all.remove(&self.core.id);
        all.extend(self.core.quarantine.borrow().clone().map(|reason| (self.core.id, reason)));
        all
    }

    fn lag(&self) -> BoxFuture<'_, BTreeMap<NodeId, u64>> {
        let core = self.core.clone();
        async move {
            let status = core.consensus.status_now();
            match status.leader {
                Some(leader) if leader != core.id => {
                    let call = core.transport.call(
                        leader,
                        Method::NodeStatus,
                        bytes::Bytes::new(),
                        LAG_DEADLINE,
                    );
                    let answer = call.await.ok();
                    answer.and_then(|bytes| frame::decode(&bytes).ok()).unwrap_or_default()
                }
                Some(_) | None => status.lag,
            }
        }
        .boxed()
    }

    fn clocks(&self) -> BoxFuture<'_, Vec<PeerClock>> {
        clocks::ask(&self.core).boxed()
    }

    fn propose_if(
        &self,
        if_revision: Option<Revision>,
        caller: Actor,
        request: RequestId,
        op: Op,
        patience: Duration,
    ) -> BoxFuture<'_, Result<Applied, ProposeError>> {
        propose::propose_if(&self.core, if_revision, caller, request, op, patience).boxed()
    }

    fn read_barrier(&self) -> BoxFuture<'_, Result<Revision, ReadError>> {
        propose::read_barrier(&self.core).boxed()
    }

    fn events(&self, after: Option<Revision>) -> Result<Vec<Arc<Event>>, Gone> {
        let feed = self.core.feed.lock().unwrap_or_else(PoisonError::into_inner);
        match after {
            Some(revision) => feed.since(revision),
            None => Ok(feed.all()),
        }
    }

    fn join_token(&self, role: Role) -> BoxFuture<'_, Result<String, ProposeError>> {
        let token = self.manager_keys().and_then(|keys| {
            let view = self.view();
            let cluster = view.cluster.as_ref().ok_or_else(|| ProposeError::Unavailable {
                reason: "the cluster is still being set up: try again".to_owned(),
            })?;
            let secret = keys.secret.token_secret(role, cluster.tokens.of(role));
            Ok(JoinToken::new(keys.root.digest(), secret).to_string())
        });
        async { token }.boxed()
    }

    fn limited_token(
        &self,
        caller: Actor,
        request: RequestId,
        limits: TokenRequest,
    ) -> BoxFuture<'_, Result<String, ProposeError>> {
        async move {
            let keys = self.manager_keys()?;
            // The same request makes the same token: a retry must not print another one.
            let secret = keys.secret.token_secret(limits.role, secret_number(request));
            let token = LimitedToken {
                secret_sha256: digest(&SHA256, &secret).as_ref().try_into().unwrap_or([0; 32]),
                role: limits.role,
                expires_at: limits.ttl_ms.map(|ms| self.now().after(Duration::from_millis(ms))),
                uses_left: limits.uses,
            };
            let op = Op::CreateToken { id: TokenId::from_raw(self.core.draw()), token };
            propose::propose(&self.core, caller, request, op).await?;
            Ok(JoinToken::new(keys.root.digest(), secret).to_string())
        }
        .boxed()
    }

    fn leave(&self, caller: Actor, force: bool) -> BoxFuture<'_, Result<(), ProposeError>> {
        async move { leave::leave(&self.core, caller, force).await }.boxed()
    }

    fn recovery(&self) -> BoxFuture<'_, Result<RecoveryReport, ProposeError>> {
        recovery::report(&self.core).boxed()
    }

    fn recover(&self, lost: BTreeSet<NodeId>) -> BoxFuture<'_, Result<(), ProposeError>> {
        recovery::order(&self.core, lost).boxed()
    }

    fn backup(&self, stale: bool) -> BoxFuture<'_, Result<Vec<u8>, ProposeError>> {
        recovery::backup(&self.core, stale).boxed()
    }

    fn reach(&self, node: NodeId, ask: Reach) -> BoxFuture<'_, Result<MessageStream, ReachError>> {
        async move { reach::open(&self.core, node, ask).await }.boxed()
    }

    fn top(
        &self,
        node: NodeId,
        tasks: Vec<TaskId>,
    ) -> BoxFuture<'_, Result<Vec<TaskTop>, ReachError>> {
        reach::top::ask(&self.core, node, tasks).boxed()
    }

    fn logs(
        &self,
        node: NodeId,
        tasks: Vec<TaskId>,
        query: LogQuery,
    ) -> BoxStream<'static, Result<TaskLine, LogsError>> {
        if node == self.core.id {
            return local_logs(&self.core.logs, &tasks, query);
        }
        remote_logs::fetch(self.core.transport.clone(), node, tasks, query)
    }
}

/// A rotation number that no standing token ever reaches.
fn secret_number(request: RequestId) -> u64 {
    let folded = request.raw() ^ (request.raw() >> 64);
    u64::try_from(folded & u128::from(u64::MAX)).unwrap_or_default() | (1 << 63)
}

/// What this process had written to disks since it started.
fn bytes_written() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes:"));
    line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}
