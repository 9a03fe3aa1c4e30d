//! Where the process runtime keeps things, and what it re-executes.

use std::path::PathBuf;
use std::sync::Arc;

use swarm_model::clock::Clock;

use crate::logs::LogStore;

/// Settings of a [`ProcessRuntime`](super::ProcessRuntime).
#[derive(Debug, Clone)]
pub struct ProcessConfig {
    /// Run directories, one a task.
    pub root: PathBuf,
    /// Where the tasks' output goes.
    pub logs: LogStore,
    /// The binary whose `main` calls [`supervisor::run_if_asked`](super::supervisor::run_if_asked).
    pub supervisor: PathBuf,
    /// Name of the cgroup that all tasks of this machine are below.
    pub cgroup: String,
    /// Directory of the tasks' config files; in memory, and reachable for all users.
    pub files: PathBuf,
    /// Tells when a run was lost; ends are stamped by the supervisors.
    pub clock: Arc<dyn Clock>,
}

impl ProcessConfig {
    /// Defaults for a data directory: `tasks` in it, this very binary as supervisor (also after it
    /// was replaced by an upgrade), configs below `/run/swarm` for root and in `tasks` for others.
    pub fn new(data_dir: &std::path::Path, logs: LogStore, clock: Arc<dyn Clock>) -> Self {
        let root = data_dir.join("tasks");
        let files = if rustix::process::geteuid().is_root() {
            PathBuf::from("/run/swarm")
        } else {
            root.clone()
        };
        Self {
            root,
            logs,
            supervisor: PathBuf::from("/proc/self/exe"),
            cgroup: "swarm".to_owned(),
            files,
            clock,
        }
    }
}
