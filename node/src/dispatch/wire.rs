//! What travels on a session besides assignments.

use serde::{Deserialize, Serialize};
use swarm_model::command::StatusReport;
use swarm_model::id::Incarnation;
use swarm_model::node::NodeDescription;

/// The most status reports in one message.
pub const REPORTS_PER_MESSAGE: usize = 500;

/// An agent's first words to the leader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The life of the agent's process.
    pub incarnation: Incarnation,
    /// What it says of its node.
    pub description: NodeDescription,
    /// Where the node listens.
    pub addr: String,
}

/// What an agent saw, newest status per task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusBatch {
    /// At most [`REPORTS_PER_MESSAGE`].
    pub reports: Vec<StatusReport>,
}
