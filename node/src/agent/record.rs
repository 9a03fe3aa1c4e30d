//! What an agent keeps on disk about one task, so that a restarted node goes on without its leader.

use serde::{Deserialize, Serialize};
use swarm_model::assignment::{Assignment, AssignmentMessage};
use swarm_model::fuzz::{Target, sample};
use swarm_model::id::ConfigId;
use swarm_model::task::TaskStatus;
use swarm_model::task_state::ObservedState;
use swarm_net::frame::{self, FrameError};
use swarm_net::fuzz::message;

use super::launch::Configs;
use crate::offers::Devices;

/// One task of this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// What the leader asked for last.
    pub(super) assignment: Assignment,
    /// The contents of its configs when it was accepted.
    pub(super) configs: Configs,
    /// How it ended: kept until the leader forgets the task, so that it never runs again.
    pub(super) ended: Option<TaskStatus>,
    /// The devices of this node that are its own until then.
    #[serde(default)]
    pub(super) devices: Devices,
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

/// The stored form, for the fuzz driver.
pub(crate) const RECORD: Target = Target::new("node.agent-record", message::<Record>, || {
    let [_full, delta] = sample::assignments();
    let AssignmentMessage::Delta { changed, .. } = delta else { return Vec::new() };
    let record = |assignment| {
        let configs = Configs::from([(ConfigId::from_raw(4), vec![1, 2].into())]);
        let ended = Some(sample::status(ObservedState::Failed));
        let devices = Devices::from([("camera".to_owned(), vec!["/dev/video0".to_owned()])]);
        Record { assignment, configs, ended, devices }.encode()
    };
    changed.into_iter().map(record).collect()
});
