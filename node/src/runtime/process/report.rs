//! The one line that a new supervisor tells the daemon through its standard output.

use std::io;

use serde::{Deserialize, Serialize};
use swarm_model::runtime::Namespace;
use swarm_model::units::Timestamp;

use super::record::LaunchRecord;
use crate::runtime::Failure;

/// What became of the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Report {
    /// The program runs.
    Started { pid: u32, at: Timestamp },
    /// It does not.
    Failed(StartError),
}

/// What the supervisor could not do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StartError {
    pub(super) step: Step,
    pub(super) errno: i32,
}

/// The steps of a start, in their order but for the last two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Step {
    /// Read the launch record.
    Launch,
    /// Join the supervisor's own groups.
    Refuge,
    /// Open the log.
    Log,
    /// Make pipes and fork.
    Fork,
    /// Begin a session.
    Session,
    /// Join the task's groups.
    Group,
    /// Make private namespaces.
    Isolate,
    /// Set the host name.
    Hostname,
    /// Change user and groups.
    Account,
    /// Enter the working directory.
    Workdir,
    /// Tie the program's life to the supervisor's.
    Bond,
    /// Execute the program.
    Execute,
    /// Write the start record.
    Record,
    /// Take control of the terminal.
    Terminal,
    /// Join the namespaces of the task's program.
    Namespaces,
}

impl Step {
    /// All, so that a step travels as its place in this list.
    pub(super) const ALL: [Self; 15] = [
        Self::Launch,
        Self::Refuge,
        Self::Log,
        Self::Fork,
        Self::Session,
        Self::Group,
        Self::Isolate,
        Self::Hostname,
        Self::Account,
        Self::Workdir,
        Self::Bond,
        Self::Execute,
        Self::Record,
        Self::Terminal,
        Self::Namespaces,
    ];

    /// An error at this step.
    pub(super) fn failed(self, error: &io::Error) -> StartError {
        StartError { step: self, errno: error.raw_os_error().unwrap_or(libc::EIO) }
    }
}

impl StartError {
    /// What the user is told.
    pub(super) fn into_failure(self, launch: &LaunchRecord) -> Failure {
        let source = io::Error::from_raw_os_error(self.errno);
        let program = || {
            launch
                .arguments
                .first()
                .cloned()
                .unwrap_or_else(|| launch.program.display().to_string())
        };
        let what = match self.step {
            Step::Execute => return execute_failure(program(), source),
            Step::Isolate => return isolate_failure(launch, &source),
            Step::Account => {
                let (uid, gid) =
                    launch.account.as_ref().map_or((0, 0), |account| (account.uid, account.gid));
                format!("run as uid {uid}, gid {gid} (does the daemon run as root?)")
            }
            Step::Workdir if source.kind() == io::ErrorKind::NotFound => {
                return Failure::NoSuchWorkdir { path: launch.workdir.display().to_string() };
            }
            Step::Workdir => format!("enter working directory {}", launch.workdir.display()),
            Step::Hostname => "set the host name".to_owned(),
            Step::Group => "join the task's cgroup".to_owned(),
            Step::Refuge => "join the supervisors' cgroup".to_owned(),
            Step::Log => format!("open log {}", launch.log_dir.display()),
            Step::Launch => "read the launch record".to_owned(),
            Step::Record => "write the start record".to_owned(),
            Step::Terminal => "take control of the terminal".to_owned(),
            Step::Namespaces => "join the namespaces of the task's program".to_owned(),
            Step::Fork | Step::Session | Step::Bond => format!("start program {}", program()),
        };
        Failure::io(what, source)
    }
}

fn isolate_failure(launch: &LaunchRecord, source: &io::Error) -> Failure {
    let names: Vec<_> = launch.namespaces.iter().map(Namespace::to_string).collect();
    let why = match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "the kernel or a sandbox around the daemon forbids it (run the daemon as root, or see \
             kernel.unprivileged_userns_clone)"
                .to_owned()
        }
        Some(libc::ENOSPC) => "too many there are (see user.max_*_namespaces)".to_owned(),
        Some(libc::EINVAL | libc::ENOSYS) => "this kernel has no such namespaces".to_owned(),
        _ => source.to_string(),
    };
    Failure::NotIsolated { names: names.join(", "), why }
}

fn execute_failure(program: String, source: io::Error) -> Failure {
    match source.raw_os_error() {
        Some(libc::ENOENT) => Failure::NotExecutable {
            program,
            why: "its interpreter (the first line's #! or the dynamic loader) is missing"
                .to_owned(),
        },
        Some(libc::ENOEXEC) => Failure::NotExecutable {
            program,
            why: "it is no program of this machine's kind, nor a script with a #! line".to_owned(),
        },
        Some(libc::EACCES) => Failure::NotExecutable {
            program,
            why: "permission denied for the task's user".to_owned(),
        },
        _ => Failure::io(format!("execute program {program}"), source),
    }
}
