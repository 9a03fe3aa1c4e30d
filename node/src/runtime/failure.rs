//! Why a task could not be prepared, started or stopped, as `service ps` shows it.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use swarm_model::id::TaskId;

/// What went wrong. Nothing was started unless the variant says so.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The command is empty.
    #[error("no command to run: give one after the service's options")]
    EmptyCommand,
    /// No such file, or none of this name in `PATH`.
    #[error("program {program} not found{hint}: install it on this node or correct the command")]
    NotFound {
        /// As it was asked for.
        program: String,
        /// Where was looked, or empty.
        hint: String,
    },
    /// There is a file, but the kernel does not run it.
    #[error("program {program} cannot be executed: {why}")]
    NotExecutable {
        /// As it was asked for.
        program: String,
        /// What is wrong with it.
        why: String,
    },
    /// The user or group is not known on this node.
    #[error("no {kind} {name} on this node: create it or give a number")]
    NoSuchUser {
        /// `user` or `group`.
        kind: &'static str,
        /// As it was asked for.
        name: String,
    },
    /// The working directory is missing or is no directory.
    #[error("working directory {path} does not exist on this node")]
    NoSuchWorkdir {
        /// As it was asked for.
        path: String,
    },
    /// The operating system says no.
    #[error("permission denied: {what}")]
    PermissionDenied {
        /// To do what, and what would help.
        what: String,
    },
    /// This node cannot enforce a limit that was asked for.
    #[error("cannot limit {limit} on this node: {why}")]
    LimitUnsupported {
        /// `cpu`, `memory` or `pids`.
        limit: &'static str,
        /// What is missing.
        why: String,
    },
    /// This node cannot keep the task apart from the machine as it asks.
    #[error("cannot give the task private namespaces ({names}) on this node: {why}")]
    NotIsolated {
        /// Which were asked for.
        names: String,
        /// What is missing.
        why: String,
    },
    /// A config's target would lie outside its directory.
    #[error("config target {path} is not a path below the configs directory")]
    BadConfigPath {
        /// As it was asked for.
        path: String,
    },
    /// A task runs once: this one has been started before.
    #[error("task {task} was started before: a task runs once")]
    AlreadyStarted {
        /// Which.
        task: TaskId,
    },
    /// Not prepared here, or removed.
    #[error("task {task} is not known to this node's runtime: prepare it first")]
    UnknownTask {
        /// Which.
        task: TaskId,
    },
    /// Nothing can be done in it any more, or not yet.
    #[error("task {task} {state}")]
    NotRunning {
        /// Which.
        task: TaskId,
        /// What it does instead, and since when.
        state: String,
    },
    /// Nobody in the task listens there.
    #[error("task {task} does not listen on port {port}{}", listed(ports))]
    NotListening {
        /// Which.
        task: TaskId,
        /// The port that was asked for.
        port: u16,
        /// Those that it listens on.
        ports: BTreeSet<u16>,
    },
    /// The runtime cannot do that with its tasks.
    #[error("{what} is not possible with tasks of runtime {runtime}")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
        /// Of whom.
        runtime: &'static str,
    },
    /// It has to end before it can be removed.
    #[error("task {task} still runs: stop it first")]
    StillRunning {
        /// Which.
        task: TaskId,
    },
    /// Killed, but the kernel does not let it go (it waits for a device or a network disk).
    #[error("task {task} was killed but does not end: it hangs in the kernel (disk or device?)")]
    Unkillable {
        /// Which.
        task: TaskId,
    },
    /// No room on the disk.
    #[error("disk full: {what}; free space on this node")]
    DiskFull {
        /// What was to be written.
        what: String,
    },
    /// Anything else that the operating system reports.
    #[error("{what} failed")]
    Io {
        /// What was tried, on what.
        what: String,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
}

/// The ports that would have done.
fn listed(ports: &BTreeSet<u16>) -> String {
    let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
    match ports.is_empty() {
        true => ", nor on any other that its node can see".to_owned(),
        false => format!(", it does on {}", ports.join(", ")),
    }
}

impl Failure {
    /// Whether trying again on this node is pointless until someone changes something: the task is
    /// Rejected, not Failed.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::EmptyCommand
            | Self::NotFound { .. }
            | Self::NotExecutable { .. }
            | Self::NoSuchUser { .. }
            | Self::NoSuchWorkdir { .. }
            | Self::PermissionDenied { .. }
            | Self::LimitUnsupported { .. }
            | Self::NotIsolated { .. }
            | Self::BadConfigPath { .. }
            | Self::AlreadyStarted { .. } => true,
            Self::UnknownTask { .. }
            | Self::NotListening { .. }
            | Self::NotRunning { .. }
            | Self::Unsupported { .. }
            | Self::StillRunning { .. }
            | Self::Unkillable { .. }
            | Self::DiskFull { .. }
            | Self::Io { .. } => false,
        }
    }

    /// The exit code of a program that did not start for this reason, as shells have it.
    pub fn exec_code(&self) -> u8 {
        match self {
            Self::NotFound { .. } => 127,
            Self::EmptyCommand
            | Self::NotExecutable { .. }
            | Self::NoSuchUser { .. }
            | Self::NoSuchWorkdir { .. }
            | Self::PermissionDenied { .. } => 126,
            Self::LimitUnsupported { .. }
            | Self::NotIsolated { .. }
            | Self::BadConfigPath { .. }
            | Self::AlreadyStarted { .. }
            | Self::UnknownTask { .. }
            | Self::NotListening { .. }
            | Self::NotRunning { .. }
            | Self::Unsupported { .. }
            | Self::StillRunning { .. }
            | Self::Unkillable { .. }
            | Self::DiskFull { .. }
            | Self::Io { .. } => 1,
        }
    }

    /// The whole chain in one line, for `service ps`.
    pub fn to_line(&self) -> String {
        match self {
            Self::Io { source, .. } => format!("{self}: {source}"),
            _ => self.to_string(),
        }
    }

    /// A system error while doing `what` to `path`, as the variant that fits it.
    pub(crate) fn at(what: &str, path: &Path, source: io::Error) -> Self {
        Self::io(format!("{what} {}", path.display()), source)
    }

    /// A system error while doing `what`, as the variant that fits it.
    pub(crate) fn io(what: String, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { what },
            io::ErrorKind::PermissionDenied => Self::PermissionDenied { what },
            _ => Self::Io { what, source: Arc::new(source) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_become_the_failure_that_fits() {
        let check = |errno: rustix::io::Errno, expect: &str, permanent: bool| {
            let failure = Failure::at("write", Path::new("/x"), io::Error::from(errno));
            assert!(failure.to_line().starts_with(expect), "{}", failure.to_line());
            assert_eq!(failure.is_permanent(), permanent, "{failure:?}");
        };
        check(rustix::io::Errno::NOSPC, "disk full: write /x", false);
        check(rustix::io::Errno::ACCESS, "permission denied: write /x", true);
        check(rustix::io::Errno::IO, "write /x failed: Input/output error", false);
    }
}
