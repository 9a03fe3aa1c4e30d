//! What one node has to do, as its agent is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{ConfigId, ServiceId, TaskId};
use crate::meta::{Term, Version};
use crate::task::{Slot, TaskTemplate};
use crate::task_state::DesiredState;

/// Orders assignment messages: an agent ignores an older one.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Generation {
    /// The term of the leader that sent it.
    pub term: Term,
    /// Counts within the term.
    pub sequence: u64,
}

/// One task that a node has to run or end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The task.
    pub task: TaskId,
    /// Its service.
    pub service: ServiceId,
    /// The service's name.
    pub service_name: String,
    /// The service's labels, for templates.
    pub service_labels: BTreeMap<String, String>,
    /// Its slot.
    pub slot: Slot,
    /// What it is made from.
    pub template: Arc<TaskTemplate>,
    /// What is wanted.
    pub desired: DesiredState,
    /// Labels of this node, for templates.
    pub node_labels: BTreeMap<String, String>,
    /// Versions of the configs that the template names. The contents come from the node's own
    /// replica.
    pub configs: BTreeMap<ConfigId, Version>,
}

/// A message of the leader to one agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AssignmentMessage {
    /// First message of a session: all tasks the node has. What is not named here is to be ended and
    /// forgotten; what is new or changed follows in deltas.
    Full {
        /// Its order.
        generation: Generation,
        /// The whole set.
        tasks: Vec<TaskId>,
    },
    /// What changed since the message before (`sequence` - 1).
    Delta {
        /// Its order.
        generation: Generation,
        /// New or changed.
        changed: Vec<Assignment>,
        /// To be ended and forgotten.
        removed: Vec<TaskId>,
    },
}

impl AssignmentMessage {
    /// Its order.
    pub fn generation(&self) -> Generation {
        match self {
            Self::Full { generation, .. } | Self::Delta { generation, .. } => *generation,
        }
    }
}
