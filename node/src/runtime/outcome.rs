//! What became of a run: started, ended, or found again after the daemon's restart.

use serde::{Deserialize, Serialize};
use swarm_model::id::TaskId;
use swarm_model::resources::Limits;
use swarm_model::units::Timestamp;

/// The signals that end programs, by number.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// A program that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// Its process id on this node; 0 where the runtime has no processes.
    pub pid: u32,
    /// When it started.
    pub at: Timestamp,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it. Neither code nor signal: lost, see [`Exit::is_lost`].
    pub signal: Option<i32>,
    /// Whether its memory limit killed some process of it.
    pub oom_killed: bool,
    /// When it ended (for a lost one: when that was found out).
    pub at: Timestamp,
}

impl Exit {
    /// It ended by itself and says that all is well.
    pub fn is_success(&self) -> bool {
        self.code == Some(0)
    }

    /// Nobody saw it end: its keeper was killed or the machine went down. Nothing of it runs.
    pub fn is_lost(&self) -> bool {
        self.code.is_none() && self.signal.is_none()
    }

    /// The text for a person; `None` for success. `limits` are those of its [`Launch`](super::Launch).
    pub fn describe(&self, limits: &Limits) -> Option<String> {
        if self.is_success() {
            return None;
        }
        if self.oom_killed {
            return Some(match limits.memory {
                Some(limit) => format!("out of memory: limit {limit}"),
                None => "out of memory: the node ran out of it".to_owned(),
            });
        }
        Some(match (self.code, self.signal) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(number)) => ended_by(number),
            (None, None) => "lost: its supervisor ended without a record of how".to_owned(),
        })
    }
}

fn ended_by(signal: i32) -> String {
    let name = usize::try_from(signal - 1).ok().and_then(|index| SIGNALS.get(index));
    match name {
        Some(name) => format!("ended by SIG{name}"),
        None => format!("ended by signal {signal}"),
    }
}

/// A run of an earlier life of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adopted {
    /// Which task it is.
    pub task: TaskId,
    /// What it does.
    pub state: AdoptedState,
}

/// What an earlier run does now. One that was prepared but never started is not told: prepare it
/// again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdoptedState {
    /// It runs; `wait`, `signal` and `stop` work as if this daemon had started it.
    Running {
        /// Its process id.
        pid: u32,
        /// When it started.
        started_at: Timestamp,
    },
    /// It ended while no daemon looked; `remove` it once that is recorded.
    Exited(Exit),
    /// It had started, its supervisor is gone without a record; what was left of it was killed.
    /// After `remove` the task may be prepared and started again.
    Lost {
        /// Whether the machine was restarted since.
        rebooted: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_model::units::Bytes;

    #[test]
    fn an_exit_reads_as_what_a_user_needs_to_know() {
        let base = Exit { code: None, signal: None, oom_killed: false, at: Timestamp::default() };
        let limits = Limits { memory: Some(Bytes(64 << 20)), ..Limits::default() };
        let check = |exit: Exit, expect: Option<&str>| {
            assert_eq!(exit.describe(&limits).as_deref(), expect, "{exit:?}");
        };
        check(Exit { code: Some(0), ..base }, None);
        check(Exit { code: Some(3), ..base }, Some("exit code 3"));
        check(Exit { signal: Some(11), ..base }, Some("ended by SIGSEGV"));
        check(Exit { signal: Some(35), ..base }, Some("ended by signal 35"));
        let killed = Exit { signal: Some(9), oom_killed: true, ..base };
        check(killed, Some("out of memory: limit 64MiB"));
        assert!(base.is_lost() && !killed.is_lost());
        assert!(base.describe(&limits).is_some_and(|text| text.starts_with("lost")));
    }
}
