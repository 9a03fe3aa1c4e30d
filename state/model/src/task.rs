//! Tasks: one run of a service's program, once, on one node.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, ServiceId, TaskId};
use crate::meta::{Meta, Revision, Version};
use crate::placement::Placement;
use crate::probe::{Health, PROBE_TEXT_MAX, Probe};
use crate::resources::ResourceRequirements;
use crate::restart::{RestartPolicy, RestartRecord};
use crate::runtime::{RuntimeSpec, Signal};
use crate::service::{SpecError, at_most};
use crate::task_state::{DesiredState, ObservedState};
use crate::units::Timestamp;

/// How long a task has to end after its stop signal, unless its service says otherwise.
pub const DEFAULT_STOP_GRACE_MS: u64 = 10_000;

/// What every task of a service is made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct TaskTemplate {
    /// The program.
    pub runtime: RuntimeSpec,
    /// Reserved and most.
    #[serde(default)]
    pub resources: ResourceRequirements,
    /// After an end.
    #[serde(default)]
    pub restart_policy: RestartPolicy,
    /// Where.
    #[serde(default)]
    pub placement: Placement,
    /// First thing sent when it has to stop.
    #[serde(default)]
    pub stop_signal: Signal,
    /// Then so long until it is killed.
    #[serde(default = "default_stop_grace")]
    pub stop_grace_ms: u64,
    /// Raised by `service update --force`: replaces all tasks though nothing else changed.
    #[serde(default)]
    pub force_update: u64,
    /// Whether it is well: it counts as running when this says so, and is stopped when it does not
    /// any more.
    #[serde(default, rename = "HealthCheck")]
    pub health: Option<Probe>,
    /// Whether it can be sent work; nothing else follows from it.
    #[serde(default, rename = "ReadyCheck")]
    pub ready: Option<Probe>,
    /// A ready task that has to stop is sent no more work for so long before its stop signal.
    #[serde(default)]
    pub drain_delay_ms: u64,
}

fn default_stop_grace() -> u64 {
    DEFAULT_STOP_GRACE_MS
}

/// The place of a task in its service: at most one task a slot runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum Slot {
    /// Replica number, from 1.
    Replica(u32),
    /// The slot of a node, for global services.
    Node(NodeId),
    /// One of those that have to succeed in a run of a job.
    Job {
        /// The run's number.
        #[serde(rename = "Run")]
        run: u64,
        /// Its number in the run, from 1.
        #[serde(rename = "Index")]
        index: u32,
    },
    /// The slot of a node in a run of a global job.
    JobNode {
        /// The run's number.
        #[serde(rename = "Run")]
        run: u64,
        /// The node.
        #[serde(rename = "Node")]
        node: NodeId,
    },
}

impl Slot {
    /// The run that it belongs to, if it is one of a job.
    pub fn run(self) -> Option<u64> {
        match self {
            Self::Job { run, .. } | Self::JobNode { run, .. } => Some(run),
            Self::Replica(_) | Self::Node(_) => None,
        }
    }

    /// Its number for programs: 0 where nodes tell slots apart.
    pub fn number(self) -> u32 {
        match self {
            Self::Replica(number) | Self::Job { index: number, .. } => number,
            Self::Node(_) | Self::JobNode { .. } => 0,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replica(number) => write!(f, "{number}"),
            Self::Node(node) => write!(f, "{node}"),
            Self::Job { run, index } => write!(f, "run{run}.{index}"),
            Self::JobNode { run, node } => write!(f, "run{run}.{node}"),
        }
    }
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct ExitStatus {
    /// Exit code, when it exited.
    pub code: Option<i32>,
    /// Signal, when one ended it.
    pub signal: Option<i32>,
    /// Whether the memory limit ended it.
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
}

impl ExitStatus {
    /// Exit code 0.
    pub fn success(self) -> bool {
        self.code == Some(0) && !self.oom_killed
    }
}

/// What is seen of a task.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct TaskStatus {
    /// The state.
    pub state: ObservedState,
    /// Since when, by the clock of who saw it.
    pub since: Timestamp,
    /// What happened, in words.
    pub message: String,
    /// What went wrong, or why it waits; empty when nothing.
    pub error: String,
    /// Process id on its node, while it runs.
    #[serde(rename = "PID")]
    pub pid: Option<u32>,
    /// How it ended.
    pub exit: Option<ExitStatus>,
    /// What its probes say; `None` when it has none.
    #[serde(default)]
    pub health: Option<Health>,
}

/// The longest message or error of a task's status, in bytes.
pub const STATUS_TEXT_MAX: usize = 4096;

impl TaskStatus {
    /// Checks what the types cannot: an agent must not fill the replicated state.
    ///
    /// # Errors
    /// The first text that is too long.
    pub fn validate(&self) -> Result<(), SpecError> {
        at_most("Status.Message", &self.message, STATUS_TEXT_MAX)?;
        at_most("Status.Error", &self.error, STATUS_TEXT_MAX)?;
        let said = self.health.as_ref().map_or("", |health| &health.message);
        at_most("Status.Health.Message", said, PROBE_TEXT_MAX)
    }

    /// The same with texts that are not too long.
    #[must_use]
    pub fn shortened(mut self) -> Self {
        for text in [&mut self.message, &mut self.error] {
            text.truncate(text.floor_char_boundary(STATUS_TEXT_MAX));
        }
        if let Some(health) = &mut self.health {
            health.shorten();
        }
        self
    }

    /// Whether it may be sent work: it runs, and its readiness probe, if it has one, says so.
    pub fn is_ready(&self) -> bool {
        self.state == ObservedState::Running && self.health.as_ref().is_none_or(|it| it.ready)
    }

    /// A state with a message and nothing else.
    pub fn new(state: ObservedState, since: Timestamp, message: &str) -> Self {
        Self { state, since, message: message.to_owned(), ..Self::default() }
    }
}

/// Why a sound task has to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum Eviction {
    /// To make room for a task of higher priority.
    Preempted {
        /// Which one.
        #[serde(rename = "By")]
        by: TaskId,
    },
    /// Because somebody asked for tasks to be spread anew. Lapses after [`REBALANCED_WITHIN`].
    Rebalanced {
        /// When.
        #[serde(rename = "At")]
        at: Timestamp,
        /// Where its replacement goes, if that still fits; otherwise it stays.
        #[serde(rename = "To")]
        to: NodeId,
    },
}

/// A task that was not moved within this time after it was asked to stays where it is.
pub const REBALANCED_WITHIN: Duration = Duration::from_secs(600);

/// One run of a program, on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct Task {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: TaskId,
    /// Version and times.
    pub meta: Meta,
    /// Its service.
    #[serde(rename = "ServiceID")]
    pub service: ServiceId,
    /// Its place in the service.
    pub slot: Slot,
    /// Its node; never changes once set.
    #[serde(rename = "NodeID")]
    pub node: Option<NodeId>,
    /// The service's template version that it was made from.
    pub template_version: Version,
    /// What it was made from.
    pub template: Arc<TaskTemplate>,
    /// What is wanted.
    pub desired: DesiredState,
    /// What is seen.
    pub status: TaskStatus,
    /// Not started before this moment.
    pub not_before: Option<Timestamp>,
    /// What it knows of its predecessors.
    pub restart: RestartRecord,
    /// Set when it has to go though nothing is wrong with it.
    pub eviction: Option<Eviction>,
    /// Its service's newest update when it was made.
    #[serde(default)]
    pub update: Option<Revision>,
    /// When the leader recorded that it runs; only once its service was updated.
    #[serde(default)]
    pub ran_at: Option<Timestamp>,
}

impl Task {
    /// The task for which this one makes room, as long as it still holds its node.
    pub fn makes_room_for(&self) -> Option<TaskId> {
        match self.eviction {
            Some(Eviction::Preempted { by }) if self.holds_node() => Some(by),
            Some(Eviction::Preempted { .. } | Eviction::Rebalanced { .. }) | None => None,
        }
    }

    /// Whether it had to go for a more important one.
    pub fn is_preempted(&self) -> bool {
        match self.eviction {
            Some(Eviction::Preempted { .. }) => true,
            Some(Eviction::Rebalanced { .. }) | None => false,
        }
    }

    /// Whether it runs or is on its way: wanted, and not ended.
    pub fn is_active(&self) -> bool {
        self.desired <= DesiredState::Running && !self.status.state.is_terminal()
    }

    /// Whether its slot is taken: it is wanted, or may still hold a process.
    pub fn takes_slot(&self) -> bool {
        self.is_active() || self.holds_node()
    }

    /// Whether it may still hold a process on its node.
    pub fn holds_node(&self) -> bool {
        self.node.is_some() && !self.status.state.is_terminal()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::HealthState;

    #[test]
    fn a_long_status_is_refused_and_a_shortened_one_is_not() {
        let text = "ä".repeat(STATUS_TEXT_MAX);
        let status = TaskStatus::new(ObservedState::Failed, Timestamp::default(), &text);
        assert_eq!(status.validate().expect_err("too long").field, "Status.Message");
        let short = TaskStatus { error: format!("x{text}"), ..status }.shortened();
        assert_eq!(short.validate(), Ok(()));
        assert_eq!(short.message.len(), STATUS_TEXT_MAX);
        assert_eq!(short.error.len(), STATUS_TEXT_MAX - 1, "no half character");
        let health = Health { status: HealthState::Starting, ready: false, message: text };
        let status = TaskStatus { health: Some(health), ..short };
        assert_eq!(status.validate().expect_err("too long").field, "Status.Health.Message");
        assert_eq!(status.shortened().validate(), Ok(()));
    }

    #[test]
    fn what_runs_is_ready_unless_its_probe_says_otherwise() {
        let status = |state, ready: Option<bool>| TaskStatus {
            health: ready.map(|ready| Health {
                status: HealthState::Healthy,
                ready,
                message: String::new(),
            }),
            ..TaskStatus::new(state, Timestamp::default(), "")
        };
        assert!(status(ObservedState::Running, None).is_ready());
        assert!(status(ObservedState::Running, Some(true)).is_ready());
        assert!(!status(ObservedState::Running, Some(false)).is_ready());
        assert!(!status(ObservedState::Starting, None).is_ready());
        assert!(!status(ObservedState::Failed, Some(true)).is_ready());
    }
}
