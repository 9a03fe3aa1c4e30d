//! Commands: everything that can change the replicated state. What is uncertain (time, ids, choices)
//! was settled by the proposer and is inside.
//!
//! The binary form is stored for ever: variants and fields are only ever appended.

use serde::{Deserialize, Serialize};

use crate::cluster::{ClusterSpec, LimitedToken};
use crate::config::ConfigSpec;
use crate::id::{ClusterId, ConfigId, Incarnation, NodeId, RequestId, ServiceId, TaskId, TokenId};
use crate::meta::{Revision, Term, Version};
use crate::node::{NodeDescription, NodeSpec, Reachability, Role};
use crate::plan::Change;
use crate::service::ServiceSpec;
use crate::task::TaskStatus;
use crate::units::Timestamp;

/// Who asked for a change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Actor {
    /// The node whose socket or whose own work it came from.
    pub node: NodeId,
    /// The user there; `None` for the cluster's own work.
    pub uid: Option<u32>,
}

/// One change of the replicated state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// A retry carries the same id and gets the same answer.
    pub request: Option<RequestId>,
    /// The proposer's wall clock.
    pub at: Timestamp,
    /// Who asked.
    pub actor: Actor,
    /// What.
    pub op: Op,
    /// Refused when a spec, a node or a config changed after this revision: what the asker saw of them
    /// is not what there is. Changes of tasks do not count.
    #[serde(default)]
    pub if_revision: Option<Revision>,
}

/// The most status reports in one command.
pub const REPORTS_MAX: usize = 500;

/// A status that an agent reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// The task.
    pub task: TaskId,
    /// Its newest status.
    pub status: TaskStatus,
}

/// The most moves in one command.
pub const RELOCATIONS_MAX: usize = 100;

/// A running task that is to be replaced by one on another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relocation {
    /// The task.
    pub task: TaskId,
    /// Its version when this was decided.
    pub version: Version,
    /// Where to.
    pub to: NodeId,
}

/// A node that is to become a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewNode {
    /// Its id.
    pub id: NodeId,
    /// Role, availability, labels.
    pub spec: NodeSpec,
    /// What it said of itself.
    pub description: NodeDescription,
    /// Where it listens.
    pub addr: String,
    /// The limited token it came with.
    pub token: Option<TokenId>,
}

/// The kinds of change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// First command of a cluster.
    InitCluster {
        /// Its id.
        id: ClusterId,
        /// Its settings.
        spec: ClusterSpec,
        /// The CA certificate, DER.
        ca_certificate: Vec<u8>,
        /// The first node.
        node: NewNode,
    },
    /// Changes the cluster's settings.
    UpdateCluster {
        /// The version it was decided on; `None` does not care.
        version: Option<Version>,
        /// The new settings.
        spec: ClusterSpec,
    },
    /// Makes the standing token of a role worthless.
    RotateToken {
        /// The role.
        role: Role,
    },
    /// Adds a join token with limits.
    CreateToken {
        /// Its id.
        id: TokenId,
        /// Its limits.
        token: LimitedToken,
    },
    /// Adds a member.
    AddNode(NewNode),
    /// Changes what people decide about a node.
    UpdateNode {
        /// The node.
        id: NodeId,
        /// The version it was decided on; `None` does not care.
        version: Option<Version>,
        /// The new spec.
        spec: NodeSpec,
        /// For a drain: when tasks are stopped whether or not replacements run.
        drain_deadline: Option<Timestamp>,
    },
    /// A node process says what it is and where: at its start and when its address changes.
    DescribeNode {
        /// The node.
        id: NodeId,
        /// Its new life.
        incarnation: Incarnation,
        /// What it says of itself.
        description: NodeDescription,
        /// Where it listens.
        addr: String,
    },
    /// The leader heard of a node, or stopped hearing of it.
    SetReachability {
        /// The node.
        id: NodeId,
        /// The life of its process that this is about; ignored when a newer one described itself.
        incarnation: Incarnation,
        /// What it is now.
        reachability: Reachability,
        /// Why.
        message: String,
    },
    /// Removes a member for ever.
    RemoveNode {
        /// The node.
        id: NodeId,
        /// Also when it is not Down.
        force: bool,
    },
    /// Declares a service.
    CreateService {
        /// Its id.
        id: ServiceId,
        /// The declaration.
        spec: Box<ServiceSpec>,
    },
    /// Declares it anew.
    UpdateService {
        /// The service.
        id: ServiceId,
        /// The version it was decided on; `None` does not care.
        version: Option<Version>,
        /// The declaration.
        spec: Box<ServiceSpec>,
        /// Whether a new template is brought in by the rules of the spec, and the old spec is
        /// remembered. What was logged before there were such rules is applied as it was then.
        #[serde(default)]
        steered: bool,
    },
    /// Ends a service.
    RemoveService {
        /// The service.
        id: ServiceId,
    },
    /// Stores a config.
    CreateConfig {
        /// Its id.
        id: ConfigId,
        /// The declaration.
        spec: ConfigSpec,
    },
    /// Stores a new version of it.
    UpdateConfig {
        /// The config.
        id: ConfigId,
        /// The version it was decided on; `None` does not care.
        version: Option<Version>,
        /// The declaration; the name must stay.
        spec: ConfigSpec,
    },
    /// Deletes a config that no service uses.
    RemoveConfig {
        /// The config.
        id: ConfigId,
    },
    /// What an agent saw.
    ReportStatus {
        /// The agent's node; reports about tasks of other nodes are ignored.
        node: NodeId,
        /// Newest status per task; at most [`REPORTS_MAX`].
        reports: Vec<StatusReport>,
    },
    /// What the leader decided. Refused as a whole when `term` is not the entry's own.
    ApplyPlan {
        /// The leader's term when it decided.
        term: Term,
        /// The view it decided on.
        base: Revision,
        /// The decisions.
        changes: Vec<Change>,
    },
    /// Takes a service back to a spec that it had.
    RollbackService {
        /// The service.
        id: ServiceId,
        /// The version it was decided on; `None` does not care.
        version: Option<Version>,
        /// Which one; `None` is the last one that ran.
        to: Option<Version>,
    },
    /// Stops a service's update where it is, or lets it go on.
    PauseUpdate {
        /// The service.
        id: ServiceId,
        /// Whether it stops.
        paused: bool,
    },
    /// Has running tasks replaced elsewhere, each new one first. Those that are not as they were when
    /// it was decided are left alone.
    Evict {
        /// At most [`RELOCATIONS_MAX`].
        moves: Vec<Relocation>,
    },
    /// Starts a run of a job.
    StartRun {
        /// The job.
        id: ServiceId,
    },
    /// Stops a run of a job, or all that go on.
    StopRun {
        /// The job.
        id: ServiceId,
        /// The run's number; `None` is all.
        run: Option<u64>,
    },
    /// Lets the other slots follow an update's canary.
    PromoteUpdate {
        /// The service.
        id: ServiceId,
    },
}
