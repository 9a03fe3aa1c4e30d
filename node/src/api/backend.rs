//! The port to the node behind the API: everything a request may need of it, and how that fails.
//!
//! Decides nothing. A running node implements it; tests put a state machine without peers behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::sync::watch;

use swarm_model::command::{Actor, Op};
use swarm_model::event::Event;
use swarm_model::id::{ClusterId, NodeId, RequestId, TaskId};
use swarm_model::meta::{Revision, Term};
use swarm_model::node::Role;
use swarm_model::outcome::{Done, Rejection};
use swarm_model::units::Timestamp;
use swarm_model::view::View;
use swarm_net::frame;
use swarm_net::rpc::Method;
use swarm_net::transport::MessageStream;
use swarm_state::feed::Gone;

use crate::clocks::PeerClock;
use crate::logs::{LogLine, LogQuery};

use super::types::{RecoveryReport, TokenRequest};
use crate::reach::busy::TaskTop;
use crate::reach::exec::ExecAsk;
use crate::reach::files::FilesAsk;
use crate::reach::forward::ForwardAsk;

/// The longest that a change may take, whatever is waited for.
pub const PROPOSE_DEADLINE: Duration = Duration::from_secs(10);
/// How long a change is tried before its caller is told that there is no quorum.
pub const PATIENCE: Duration = Duration::from_secs(8);

/// What a node says that has none.
const NO_DISK: &str = "this node keeps nothing";

/// The node behind the API.
pub trait Backend: Debug + Send + Sync + 'static {
    /// What this node is.
    fn facts(&self) -> Facts;

    /// The wall clock.
    fn now(&self) -> Timestamp;

    /// 128 bits that no one else has drawn, for a new id.
    fn draw_id(&self) -> u128;

    /// The newest state applied here.
    fn view(&self) -> Arc<View>;

    /// The same, as it changes. A revision's events are in [`Backend::events`] before its view is
    /// published here.
    fn views(&self) -> watch::Receiver<Arc<View>>;

    /// How Raft stands, as far as this node knows.
    fn consensus(&self) -> Consensus;

    /// The nodes that gossip hears right now, this one included.
    fn heard(&self) -> BTreeSet<NodeId>;

    /// The nodes whose replica takes no part in the group, and why, as far as this node knows.
    fn quarantined(&self) -> BTreeMap<NodeId, String> {
        BTreeMap::new()
    }

    /// Log entries that each replica is behind, by the leader's count: asks it, for at most a second
    /// or so. Empty when it cannot be asked; replicas that it cannot tell about are missing.
    fn lag(&self) -> BoxFuture<'_, BTreeMap<NodeId, u64>>;

    /// The other members' wall clocks, of those that answer within a second or two.
    fn clocks(&self) -> BoxFuture<'_, Vec<PeerClock>> {
        async { Vec::new() }.boxed()
    }

    /// Proposes a change at the leader, wherever that is, for at most `patience`; with `if_revision` it
    /// is refused when specs, nodes or configs changed since. Asking again under the same `request`
    /// gives the same answer and changes nothing again.
    fn propose_if(
        &self,
        if_revision: Option<Revision>,
        caller: Actor,
        request: RequestId,
        op: Op,
        patience: Duration,
    ) -> BoxFuture<'_, Result<Applied, ProposeError>>;

    /// The same whatever changed meanwhile, for as long as makes sense when nobody waits for more.
    fn propose(
        &self,
        caller: Actor,
        request: RequestId,
        op: Op,
    ) -> BoxFuture<'_, Result<Applied, ProposeError>> {
        self.propose_if(None, caller, request, op, PATIENCE)
    }

    /// Waits until everything that was committed when it was called is in [`Backend::view`]. The
    /// caller bounds the wait by dropping the future.
    fn read_barrier(&self) -> BoxFuture<'_, Result<Revision, ReadError>>;

    /// The events after a revision, oldest first; all that are kept for `None`.
    ///
    /// # Errors
    /// When the history kept here does not reach back that far.
    fn events(&self, after: Option<Revision>) -> Result<Vec<Arc<Event>>, Gone>;

    /// The standing join token of a role, by the view as it is here.
    fn join_token(&self, role: Role) -> BoxFuture<'_, Result<String, ProposeError>>;

    /// Makes a join token with limits.
    fn limited_token(
        &self,
        caller: Actor,
        request: RequestId,
        limits: TokenRequest,
    ) -> BoxFuture<'_, Result<String, ProposeError>>;

    /// Leaves the cluster: done when the others no longer count on this node. The daemon then ends
    /// by itself, after the answer is out.
    fn leave(&self, caller: Actor, force: bool) -> BoxFuture<'_, Result<(), ProposeError>>;

    /// What this node holds, and what would become of the cluster if it went on without its majority.
    ///
    /// # Errors
    /// Why this node cannot.
    fn recovery(&self) -> BoxFuture<'_, Result<RecoveryReport, ProposeError>> {
        async { Err(ProposeError::Unavailable { reason: NO_DISK.to_owned() }) }.boxed()
    }

    /// Makes this node go on as the only voter, without `lost`: its next life begins with that. The
    /// caller has checked that there is no quorum.
    ///
    /// # Errors
    /// Why this node cannot; nothing was changed.
    fn recover(&self, lost: BTreeSet<NodeId>) -> BoxFuture<'_, Result<(), ProposeError>> {
        let _ = lost;
        async { Err(ProposeError::Unavailable { reason: NO_DISK.to_owned() }) }.boxed()
    }

    /// The whole state as it is here and the managers' keys, as one archive that is not encrypted;
    /// `stale` is noted in it.
    fn backup(&self, stale: bool) -> BoxFuture<'_, Result<Vec<u8>, ProposeError>> {
        let _ = stale;
        async { Err(ProposeError::Unavailable { reason: NO_DISK.to_owned() }) }.boxed()
    }

    /// Reaches into a task on `node`, this one or another: the stream carries [`crate::chunk`]s. Dropping it
    /// ends what was begun.
    ///
    /// # Errors
    /// Why it was not begun; nothing was.
    fn reach(&self, node: NodeId, ask: Reach) -> BoxFuture<'_, Result<MessageStream, ReachError>> {
        let _ = (node, ask);
        let reason = "this node runs no tasks".to_owned();
        async { Err(ReachError::Unreachable { reason }) }.boxed()
    }

    /// What the processes of `tasks` on `node` use, this one or another; it takes half a second.
    ///
    /// # Errors
    /// Why the node does not tell.
    fn top(
        &self,
        node: NodeId,
        tasks: Vec<TaskId>,
    ) -> BoxFuture<'_, Result<Vec<TaskTop>, ReachError>> {
        let _ = (node, tasks);
        let reason = "this node runs no tasks".to_owned();
        async { Err(ReachError::Unreachable { reason }) }.boxed()
    }

    /// Lines of `tasks`, which run or ran on `node` (this one or another), merged by time;
    /// `query.tail` counts per task. Ends after the first error. Dropping the stream ends it there,
    /// too. See [`super::local_logs`] for the node's own part.
    fn logs(
        &self,
        node: NodeId,
        tasks: Vec<TaskId>,
        query: LogQuery,
    ) -> BoxStream<'static, Result<TaskLine, LogsError>>;
}

/// What a node knows about itself without asking anyone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its id.
    pub node_id: NodeId,
    /// Its cluster.
    pub cluster_id: ClusterId,
    /// Where peers reach it, `ip:port`.
    pub addr: String,
    /// Its host name.
    pub hostname: String,
    /// Its role, as its certificate says.
    pub role: Role,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// When its certificate ends.
    pub certificate_expires_at: Timestamp,
    /// How processes are limited here: `cgroup v1`, `cgroup v2` or `none`.
    pub cgroup: String,
    /// The other cluster that a second recovery made of this one, if it was met: for a person.
    pub rival: Option<String>,
    /// Bytes that this daemon wrote to disk since it started.
    pub disk_bytes_written: u64,
    /// When the daemon started.
    pub started_at: Timestamp,
}

/// How Raft stands, as far as one node knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Consensus {
    /// The leader, if one is known.
    pub leader: Option<NodeId>,
    /// The term.
    pub term: Term,
    /// Who votes.
    pub voters: BTreeSet<NodeId>,
    /// Who follows without a vote.
    pub learners: BTreeSet<NodeId>,
    /// For how long nothing was heard from the leader (by itself: from a majority of the voters);
    /// `None` when nothing ever was.
    pub leader_silent: Option<Duration>,
}

/// A change that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// When in the cluster's history.
    pub revision: Revision,
    /// What was done.
    pub done: Done,
}

/// Why a change was not made, or not known to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// The state does not allow it. Nothing was changed; asking again gives the same answer.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// No majority of the voters took it in time. Retry later, under the same request id.
    #[error("no majority of the voters answered within {waited:?}")]
    NoQuorum {
        /// How long it was tried.
        waited: Duration,
        /// Whether it may still take effect once a majority is back.
        may_apply: bool,
    },
    /// Leadership changed in the middle: it may or may not have been applied. Ask again under the same
    /// request id to know.
    #[error("the leader was lost before it could say whether the change was made")]
    Unknown,
    /// The caller may not. Nothing was changed.
    #[error("{reason}")]
    Forbidden {
        /// Why, and who may.
        reason: String,
    },
    /// Over the limit of one log entry. Nothing was changed.
    #[error("{size} bytes are over the limit of {limit} bytes of one change")]
    TooLarge {
        /// Bytes it has.
        size: usize,
        /// Bytes it may have.
        limit: usize,
    },
    /// This node cannot ask now: it starts, stops, or is no longer a member. Nothing was changed.
    #[error("{reason}")]
    Unavailable {
        /// Why, and what to do.
        reason: String,
    },
}

/// Why a linearizable read is not possible now. The local view still is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader, or it has no majority behind it.
    #[error("no leader with a majority behind it answers")]
    NoQuorum,
    /// This node cannot ask now.
    #[error("{reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
}

/// What is wanted of a task on its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// One more program.
    Exec(ExecAsk),
    /// Files of its working directory.
    Files(FilesAsk),
    /// A connection to a port of it.
    Forward(ForwardAsk),
}

impl Reach {
    /// As it travels.
    pub(crate) fn to_hello(&self) -> (Method, bytes::Bytes) {
        match self {
            Self::Exec(ask) => (Method::Exec, frame::encode(ask)),
            Self::Files(ask) => (Method::Files, frame::encode(ask)),
            Self::Forward(ask) => (Method::Forward, frame::encode(ask)),
        }
    }
}

/// Why a task cannot be reached into.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub enum ReachError {
    /// This node may not.
    Forbidden {
        /// Why, and who may.
        reason: String,
    },
    /// The task's node does not answer; it is named by who shows this.
    Unreachable {
        /// Why.
        reason: String,
    },
}

/// A line and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TaskLine {
    /// The task.
    pub task: TaskId,
    /// What it wrote.
    pub line: LogLine,
}

/// Why lines of a node's tasks cannot be read (on).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct LogsError {
    /// Why, in words: the node cannot be reached, its disk fails, ….
    pub reason: String,
}
