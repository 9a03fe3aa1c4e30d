//! What the processes of a task use, at one moment.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use swarm_model::id::TaskId;

use super::Failure;

/// The processes of several tasks, each task's by process id, or why nobody knows.
pub type Samples = BTreeMap<TaskId, Result<Vec<ProcessSample>, Failure>>;

/// One process of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSample {
    /// Its id on its node.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// Whom it runs as: a name, or a number that has none.
    pub user: String,
    /// Processor time since its start, in microseconds.
    pub cpu_us: u64,
    /// Resident memory, in bytes.
    pub memory: u64,
    /// For how long it has run, in milliseconds.
    pub age_ms: u64,
    /// Its command line, words separated by spaces; its name in brackets where it has none.
    pub command: String,
}
