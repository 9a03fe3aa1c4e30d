//! What the parts of one running node share. Built once by [`crate::daemon`] or by a simulation.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use swarm_model::clock::Clock;
use swarm_model::command::{Actor, Command, Op};
use swarm_model::id::{ClusterId, IdSource, Incarnation, NodeId, RequestId};
use swarm_model::node::NodeDescription;
use swarm_model::units::Timestamp;
use swarm_net::ca::Identity;
use swarm_net::gossip::Gossip;
use swarm_net::task::TaskGroup;
use swarm_net::transport::Transport;
use swarm_raft::Consensus;
use swarm_state::feed::Feed;
use swarm_state::store::DiskFault;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::disk::DiskGuard;
use crate::greet::Lives;
use crate::keys::KeyRing;
use crate::leader::Leadership;
use crate::logs::LogStore;
use crate::members::ReplicaMembers;
use crate::recover::Order;
use crate::runtime::Registry;
use crate::work::Work;

/// A source of ids that many may draw from.
pub type Ids = Mutex<Box<dyn IdSource + Send>>;

/// The shared parts of one node.
pub struct Core {
    /// This node.
    pub id: NodeId,
    /// Its cluster.
    pub cluster_id: ClusterId,
    /// This life of its process.
    pub incarnation: Incarnation,
    /// Where peers reach it.
    pub addr: SocketAddr,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// What it says of itself.
    pub description: NodeDescription,
    /// When this life began.
    pub started_at: Timestamp,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub ids: Ids,
    /// Agreement.
    pub consensus: Consensus,
    /// Members and epoch as the transport asks for them.
    pub(crate) members: Arc<ReplicaMembers>,
    /// The way to other nodes.
    pub transport: Arc<dyn Transport>,
    /// Hints about other nodes.
    pub gossip: Gossip,
    /// A manager's keys.
    pub keys: KeyRing,
    /// Who this node is; changes when the certificate is renewed.
    pub identity: watch::Sender<Identity>,
    /// Task output on this node.
    pub logs: LogStore,
    /// How tasks run on this node.
    pub runtimes: Registry,
    /// The newest events.
    pub feed: Mutex<Feed>,
    /// What this node does as the leader, while it is one.
    pub leadership: watch::Sender<Option<Arc<Leadership>>>,
    /// Owns everything that runs.
    pub tasks: TaskGroup,
    /// Whether there is room for more.
    pub disk: DiskGuard,
    /// Where small files and the agent's table are read and written.
    pub work: Work,
    /// Set when this node no longer belongs to the cluster: the daemon ends, tasks and all.
    pub dismissed: CancellationToken,
    /// Set as soon as a sync of any table fails: only a new start can find out what is on the disk.
    pub broken_disk: CancellationToken,
    /// What the disk said then.
    pub disk_fault: DiskFault,
    /// Why the replica takes no part in the group, while it does not: [`crate::quarantine`].
    pub quarantine: watch::Sender<Option<String>>,
    /// Set when this life of the node has to end and the next one to begin at once.
    pub born_again: CancellationToken,
    /// Why this node takes no part in anything any more: [`crate::epoch`].
    pub fence: Option<String>,
    /// The other cluster that a second recovery made of this one, once it was met, and when it last was.
    pub(crate) rival: watch::Sender<Option<(Timestamp, String)>>,
    /// What the next life begins with, if a person decided to go on without a majority.
    pub(crate) order: Mutex<Option<Order>>,
    /// The newest lives of other nodes that greeted this one.
    pub(crate) lives: Lives,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("id", &self.id)
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

impl Core {
    /// Who leads, as far as this node knows.
    pub fn leader(&self) -> Option<NodeId> {
        self.consensus.status().borrow().leader
    }

    /// 128 new bits.
    pub fn draw(&self) -> u128 {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).draw()
    }

    /// A command of the cluster's own work, made here and now.
    pub fn own_command(&self, op: Op) -> Command {
        let actor = Actor { node: self.id, uid: None };
        Command { request: None, at: self.clock.now(), actor, op, if_revision: None }
    }

    /// A command that somebody asked for, made here and now.
    pub fn command_of(&self, actor: Actor, request: RequestId, op: Op) -> Command {
        Command { request: Some(request), at: self.clock.now(), actor, op, if_revision: None }
    }
}
