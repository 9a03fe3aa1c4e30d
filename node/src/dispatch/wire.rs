//! What travels on a session besides assignments.

use serde::{Deserialize, Serialize};
use swarm_model::command::{REPORTS_MAX, StatusReport};
use swarm_model::id::Incarnation;
use swarm_model::node::NodeDescription;
use swarm_model::service::SpecError;

/// The most status reports in one message.
pub const REPORTS_PER_MESSAGE: usize = REPORTS_MAX;

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

impl StatusBatch {
    /// Whether an agent that keeps the rules may have sent this.
    ///
    /// # Errors
    /// What is too much.
    pub fn check(&self) -> Result<(), SpecError> {
        if self.reports.len() > REPORTS_PER_MESSAGE {
            let reason = format!("{} are more than {REPORTS_PER_MESSAGE}", self.reports.len());
            return Err(SpecError::new("Reports", reason));
        }
        self.reports.iter().try_for_each(|report| report.status.validate())
    }
}
