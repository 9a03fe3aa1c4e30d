//! What an agent keeps on disk about one task, so that a restarted node goes on without its leader.

use serde::{Deserialize, Serialize};
use swarm_model::assignment::Assignment;
use swarm_model::task::TaskStatus;
use swarm_net::frame::{self, FrameError};

use super::launch::Configs;

/// One task of this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// What the leader asked for last.
    pub(super) assignment: Assignment,
    /// The contents of its configs when it was accepted.
    pub(super) configs: Configs,
    /// How it ended: kept until the leader forgets the task, so that it never runs again.
    pub(super) ended: Option<TaskStatus>,
}

impl Record {
    /// The stored form.
    pub(super) fn encode(&self) -> Vec<u8> {
        frame::encode(self).to_vec()
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// When the bytes are not one whole record of a known format.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        frame::decode(bytes)
    }
}
