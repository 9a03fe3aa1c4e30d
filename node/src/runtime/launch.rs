//! What to run: one task's program with everything it needs, templates already expanded.
//!
//! Nothing here is checked against this machine; [`TaskRuntime::prepare`](super::TaskRuntime)
//! does that.

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;
use swarm_model::id::TaskId;
use swarm_model::resources::Limits;
use swarm_model::runtime::{Namespace, Signal};

use crate::logs::LogLimits;

/// One run of one program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The task that this run is.
    pub task: TaskId,
    /// Name of its service, for messages.
    pub service_name: String,
    /// Its slot, for messages.
    pub slot: u64,
    /// Program and arguments; the program is looked up in the task's own `PATH`.
    pub command: Vec<String>,
    /// The whole environment. `PATH` and `HOME` get defaults when they are not in it.
    pub env: Vec<(String, String)>,
    /// `user`, `uid`, `user:group` or `uid:gid`; the daemon's own user when `None`.
    pub user: Option<String>,
    /// Supplementary groups by name or number, on top of those that the user is in.
    pub groups: Vec<String>,
    /// Directory to start in; an empty one of the task's own when `None`.
    pub workdir: Option<String>,
    /// Host name that the task sees (needs root; `HOSTNAME` is set in any case).
    pub hostname: Option<String>,
    /// What it shall not share with the machine.
    pub namespaces: BTreeSet<Namespace>,
    /// What it may use at most.
    pub limits: Limits,
    /// Files that it finds in the directory that `SWARM_CONFIGS_DIR` names.
    pub configs: Vec<ConfigFile>,
    /// What asks it to end.
    pub stop_signal: Signal,
    /// How much of its output is kept.
    pub log: LogLimits,
}

impl Launch {
    /// A run of `command` with nothing asked for.
    pub fn new(task: TaskId, command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            task,
            service_name: String::new(),
            slot: 0,
            command: command.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            user: None,
            groups: Vec::new(),
            workdir: None,
            hostname: None,
            namespaces: BTreeSet::new(),
            limits: Limits::default(),
            configs: Vec::new(),
            stop_signal: Signal::TERM,
            log: LogLimits::default(),
        }
    }
}

/// One file in the task's configs directory.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigFile {
    /// Where, relative to the configs directory; a leading `/` means the same, `..` is refused.
    pub path: String,
    /// What is in it.
    pub content: Bytes,
    /// Permission bits, 0o444 by habit.
    pub mode: u32,
    /// Owner; the task's user when `None`.
    pub uid: Option<u32>,
    /// Group; the task's group when `None`.
    pub gid: Option<u32>,
}

impl fmt::Debug for ConfigFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, content, mode, uid, gid } = self;
        write!(f, "ConfigFile({path}, {} bytes, {mode:o}, {uid:?}:{gid:?})", content.len())
    }
}
