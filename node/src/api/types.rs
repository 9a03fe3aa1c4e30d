//! The API's own JSON types, where a model type alone does not say enough.
//!
//! Requests and answers that are plain model objects (specs, configs) have no type here.

mod plan;
mod runs;
mod updates;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use swarm_model::config::{Config, Data};
use swarm_model::id::{ClusterId, NodeId, TaskId};
use swarm_model::meta::{Revision, Term, Version};
use swarm_model::node::{Availability, Node, Role};
use swarm_model::service::Service;
use swarm_model::task::Task;
use swarm_model::units::Timestamp;

pub use plan::{PlanRequest, Planned, Rebalanced};
pub use runs::RunEntry;
pub use swarm_control::Move;
pub use swarm_control::forecast::{Forecast, Place, RunForecast, ServiceForecast, Step, StepKind};
pub use updates::{Difference, HistoryEntry, SpecDiff, UpdateStatus};

/// Query filters: any value of a key may match, all keys must.
pub type Filters = BTreeMap<String, Vec<String>>;

/// Any error's body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ErrorBody {
    /// For people: what failed, on what, why, what to do.
    pub message: String,
    /// For programs; stable: `invalid`, `not_found`, `ambiguous`, `name_taken`, `version_conflict`,
    /// `revision_conflict`, `in_use`, `conflict`, `forbidden`, `too_large`, `no_quorum`, `unavailable`,
    /// `unknown_outcome`, `gone`, `internal`.
    pub code: String,
}

/// Answer to a create or update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Written {
    /// The object's id.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its version now.
    pub version: Version,
    /// The revision of the change.
    pub revision: Revision,
    /// Things worth knowing, such as why nothing runs yet.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// What this node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Info {
    /// This node.
    #[serde(rename = "NodeID")]
    pub node_id: NodeId,
    /// Its cluster.
    #[serde(rename = "ClusterID")]
    pub cluster_id: ClusterId,
    /// Where peers reach it, `ip:port`.
    pub node_addr: String,
    /// Its host name.
    pub hostname: String,
    /// Its role.
    pub role: Role,
    /// Process id of its daemon.
    #[serde(rename = "DaemonPID")]
    pub daemon_pid: u32,
    /// Whether it is a manager.
    pub control_available: bool,
    /// The leader as this node sees it.
    pub leader: Option<NodeId>,
    /// The Raft term.
    pub term: Term,
    /// Counts recoveries of the cluster, from 1; 0 while this node does not know.
    #[serde(default)]
    pub epoch: u64,
    /// The newest revision applied here.
    pub revision: Revision,
    /// Whether it votes.
    pub voter: bool,
    /// Why its replica takes no part in the consensus group, while it does not.
    #[serde(default)]
    pub quarantine: Option<String>,
    /// The other cluster that a second recovery made of this one, if it was met.
    #[serde(default)]
    pub rival: Option<String>,
    /// Its data directory.
    pub data_dir: String,
    /// The program's version.
    pub version: String,
    /// When its certificate ends.
    pub certificate_expires_at: Timestamp,
    /// How processes are limited here: `cgroup v1`, `cgroup v2` or `none`.
    pub cgroup: String,
    /// Members, by role.
    pub managers: u32,
    /// All members.
    pub nodes: u32,
    /// Bytes this daemon wrote to disk since it started.
    pub disk_bytes_written: u64,
    /// When the daemon started.
    pub started_at: Timestamp,
}

/// How far one replica is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ReplicaStatus {
    /// The node.
    #[serde(rename = "NodeID")]
    pub node_id: NodeId,
    /// Its host name.
    pub hostname: String,
    /// Whether it votes.
    pub voter: bool,
    /// Log entries behind the leader; `None` when the leader cannot tell.
    pub lag: Option<u64>,
}

/// A service that has fewer running tasks than it wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ShortService {
    /// Its name.
    pub name: String,
    /// Tasks running.
    pub running: u32,
    /// Tasks wanted.
    pub desired: u32,
    /// Why, when known.
    pub reason: String,
}

/// The cluster on one screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ClusterStatus {
    /// This node.
    pub info: Info,
    /// Whether a majority of the voters answers.
    pub quorum: bool,
    /// Voters in all.
    pub voters: u32,
    /// Voters that gossip hears.
    pub voters_reachable: u32,
    /// Each replica of the state.
    pub replicas: Vec<ReplicaStatus>,
    /// Nodes heard from.
    pub nodes_ready: u32,
    /// Nodes lost.
    pub nodes_down: u32,
    /// Nodes of which nobody can say: not heard yet, or silent while there is no quorum.
    #[serde(default)]
    pub nodes_unknown: u32,
    /// Services in all.
    pub services: u32,
    /// Those short of tasks.
    pub services_short: Vec<ShortService>,
    /// Nodes whose replica takes no part in the consensus group.
    #[serde(default)]
    pub quarantined: Vec<QuarantinedNode>,
    /// Disk writes of this node in the last hour, scaled to a day; `None` while the daemon is too
    /// young to tell.
    pub disk_bytes_per_day: Option<u64>,
}

/// A node whose replica takes no part in the consensus group until the others take it in anew. Its
/// tasks go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct QuarantinedNode {
    /// The node.
    #[serde(rename = "NodeID")]
    pub node_id: NodeId,
    /// Its host name.
    pub hostname: String,
    /// Why.
    pub reason: String,
}

/// How a manager stands in Raft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum ManagerStatus {
    /// It leads.
    Leader,
    /// It votes, and is heard from.
    Reachable,
    /// It is not heard from, whether or not it votes.
    Unreachable,
    /// It is heard from, and has everything, but no vote: it takes the place of a voter that is gone.
    Standby,
}

/// A node as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct NodeEntry {
    /// The node.
    #[serde(flatten)]
    pub node: Node,
    /// For managers.
    pub manager_status: Option<ManagerStatus>,
    /// Whether it votes.
    pub voter: bool,
    /// Why its replica takes no part in the consensus group, while it does not.
    #[serde(default)]
    pub quarantine: Option<String>,
    /// Whether it is the node that answered.
    #[serde(rename = "Self")]
    pub is_self: bool,
}

/// A change of what people decide about a node; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeUpdate {
    /// Promote or demote.
    pub role: Option<Role>,
    /// Active, pause, drain.
    pub availability: Option<Availability>,
    /// Labels to set.
    pub labels_add: BTreeMap<String, String>,
    /// Labels to drop.
    pub labels_remove: Vec<String>,
    /// For a drain: tasks are stopped after so long even without replacement.
    pub drain_deadline_ms: Option<u64>,
}

/// A service as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceEntry {
    /// The service.
    #[serde(flatten)]
    pub service: Service,
    /// Its tasks in numbers.
    pub service_status: ServiceCounts,
    /// How far its newest update is; `None` before the first one.
    #[serde(default)]
    pub update_status: Option<UpdateStatus>,
    /// Of a job: the run that goes on, else the newest one that took place.
    #[serde(default)]
    pub run_status: Option<RunEntry>,
    /// Of a scheduled job: when it is due next.
    #[serde(default)]
    pub next_run_at: Option<Timestamp>,
}

/// Tasks of a service in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceCounts {
    /// Running now.
    pub running_tasks: u32,
    /// Wanted.
    pub desired_tasks: u32,
    /// Running from the current template.
    pub updated_tasks: u32,
    /// Of a job: slots of its newest run that succeeded.
    #[serde(default)]
    pub completed_tasks: u32,
}

/// What is still to come for a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub enum Outlook {
    /// Nothing out of the ordinary.
    #[default]
    Open,
    /// It stands for one that ended, and starts only later.
    Waits,
    /// It ended as it should, and nothing follows.
    Done,
    /// It ended though it should run, and nothing follows until its service is updated.
    GivenUp,
}

/// A task as the API shows it. What nothing follows is shown as wanted `Shutdown`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct TaskEntry {
    /// The task.
    #[serde(flatten)]
    pub task: Task,
    /// `web.1`, or `agent.NODE` for global services.
    pub name: String,
    /// Its service's name.
    pub service_name: String,
    /// Its node's host name; empty while it has none.
    pub node_hostname: String,
    /// Whether other nodes are called the same, so that only the id tells.
    #[serde(default)]
    pub node_hostname_shared: bool,
    /// What is still to come for it.
    #[serde(default)]
    pub outlook: Outlook,
    /// The same in words: how the task before it ended, why nothing follows, or for whom it had to go;
    /// empty when there is nothing to say.
    #[serde(default)]
    pub note: String,
    /// When it starts, while it waits for that.
    #[serde(default)]
    pub next_attempt_at: Option<Timestamp>,
    /// Whether it was made from the service's current template.
    pub current: bool,
}

impl TaskEntry {
    /// Where it is, in words; with the node's id where the host name alone does not tell.
    pub fn place(&self) -> String {
        place(&self.node_hostname, self.task.node.filter(|_| self.node_hostname_shared))
    }
}

/// A node in words.
pub(super) fn place(hostname: &str, shared_by: Option<NodeId>) -> String {
    match shared_by {
        Some(id) => format!("{hostname} ({})", id.short()),
        None => hostname.to_owned(),
    }
}

/// A config as the API shows it: data and all.
pub type ConfigEntry = Config;

/// A join token with the commands that use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct TokenAnswer {
    /// `SWMTKN-1-…`
    pub token: String,
    /// The role it gives.
    pub role: Role,
    /// Addresses of managers to join through.
    pub addresses: Vec<String>,
}

/// Asks for a join token with limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct TokenRequest {
    /// The role it gives.
    pub role: Role,
    /// Worthless after so long.
    #[serde(default)]
    pub ttl_ms: Option<u64>,
    /// Worthless after so many joins.
    #[serde(default)]
    pub uses: Option<u32>,
}

/// Asks this node to leave.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct LeaveRequest {
    /// Also when it is the last manager, or the cluster cannot be reached.
    pub force: bool,
}

/// One line of a task's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct LogEntry {
    /// When it was read from the task.
    pub at: Timestamp,
    /// The task; `None` when the entry is about a node.
    #[serde(rename = "TaskID")]
    pub task: Option<TaskId>,
    /// The task's name.
    pub task_name: String,
    /// The node.
    #[serde(rename = "NodeID", default)]
    pub node: NodeId,
    /// Its host name.
    pub node_hostname: String,
    /// Whether other nodes are called the same.
    #[serde(default)]
    pub node_hostname_shared: bool,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// The line, without its end; bytes that are no UTF-8 are replaced.
    pub line: String,
    /// Set instead of a line: why lines of the node cannot be read.
    pub error: Option<String>,
    /// With an error: of so many of its tasks.
    #[serde(default)]
    pub missing_tasks: u32,
}

impl LogEntry {
    /// The node in words; with its id where the host name alone does not tell.
    pub fn place(&self) -> String {
        place(&self.node_hostname, self.node_hostname_shared.then_some(self.node))
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct EventEntry {
    /// Where in the history: one revision may have several events.
    pub revision: Revision,
    /// Which event it is, `REVISION.NUMBER`, the same on every node; give it as `since` to go on right
    /// behind it.
    #[serde(default)]
    pub cursor: String,
    /// When.
    pub time: Timestamp,
    /// `service`, `task`, `node`, `config`, `cluster`, `token`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// `create`, `update`, `remove`.
    pub action: String,
    /// The subject's id.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its name.
    pub name: String,
    /// More.
    pub attributes: BTreeMap<String, String>,
}

/// One member in a recovery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct RecoveryMember {
    /// The node.
    #[serde(rename = "NodeID")]
    pub node_id: NodeId,
    /// Its host name.
    pub hostname: String,
    /// Its role.
    pub role: Role,
    /// Where it was last, `ip:port`.
    pub addr: String,
    /// Whether it votes.
    pub voter: bool,
}

/// What this node holds, and what would become of the cluster if it went on without its majority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct RecoveryReport {
    /// The survivor.
    #[serde(rename = "NodeID")]
    pub node_id: NodeId,
    /// The epoch that would end.
    pub epoch: u64,
    /// The newest revision that is known here to be agreed on.
    pub revision: Revision,
    /// Records after it that this node holds and a recovery makes part of the history.
    pub uncommitted: u64,
    /// The Raft term.
    pub term: Term,
    /// When the newest change was made that the log here holds.
    pub newest_change: Option<Timestamp>,
    /// For how long no leader was heard; what was written elsewhere since would be lost.
    pub leader_silent_ms: Option<u64>,
    /// Voters in all.
    pub voters: u32,
    /// Services.
    pub services: u32,
    /// Running tasks in all, as far as is known here.
    pub tasks: u32,
    /// Of these, here: they go on.
    pub tasks_here: u32,
    /// Of these, on lost nodes: they are started elsewhere.
    pub tasks_lost: u32,
    /// Members that stay.
    pub kept: Vec<RecoveryMember>,
    /// Members that are left out for ever.
    pub lost: Vec<RecoveryMember>,
}

/// Asks this node to go on without its majority.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase", default)]
pub struct RecoverRequest {
    /// The members that were shown as lost: refused when others are by now.
    pub lost: Vec<NodeId>,
}

/// A backup, not encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct BackupAnswer {
    /// The archive.
    pub archive: Data,
}
