//! The groups of one task: found again from its record, killed, emptied, removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::{v1, v2};

/// Rounds of killing in a v1 group that has no freezer: programs may fork meanwhile.
const KILL_ROUNDS: usize = 100;

/// The directories of one task's groups. Part of the launch record: its fields are a disk format.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Group {
    /// The v2 group, which the program is born in.
    pub(crate) unified: Option<PathBuf>,
    /// The v1 groups, which the program joins before it is executed.
    pub(crate) joined: Vec<PathBuf>,
    /// That of `joined` which can be frozen.
    pub(crate) freezer: Option<PathBuf>,
    /// That of `joined` which counts out-of-memory kills.
    pub(crate) memory: Option<PathBuf>,
}

impl Group {
    /// Kills every process of the task. `false` when there is no group to do it by.
    pub(crate) fn kill(&self) -> bool {
        if let Some(unified) = &self.unified {
            // Before Linux 5.14 there is no such file; then the list has to do.
            return v2::kill(unified).is_ok() || kill_listed(unified);
        }
        match (&self.freezer, self.joined.first()) {
            (Some(freezer), _) => {
                v1::freeze(freezer, true).ok();
                let killed = kill_once(freezer).is_ok();
                v1::freeze(freezer, false).ok();
                killed && kill_listed(freezer)
            }
            (None, Some(joined)) => kill_listed(joined),
            (None, None) => false,
        }
    }

    /// Whether the memory limit killed some process of the task.
    pub(crate) fn had_oom_kill(&self) -> bool {
        let v1 = self.memory.as_deref().map_or(0, v1::oom_kills);
        v1 + self.unified.as_deref().map_or(0, v2::oom_kills) > 0
    }

    /// Removes the groups, which must be empty; those that are gone are fine.
    pub(crate) fn remove(&self) -> io::Result<()> {
        for dir in self.unified.iter().chain(&self.joined) {
            match fs::remove_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

fn kill_listed(group: &Path) -> bool {
    (0..KILL_ROUNDS).any(|_round| matches!(kill_once(group), Ok(0)))
}

/// Kills the processes that are in the group now; tells how many.
fn kill_once(group: &Path) -> io::Result<usize> {
    let listed = fs::read_to_string(group.join("cgroup.procs"))?;
    let pids = listed.lines().filter_map(|line| line.parse().ok()).filter_map(Pid::from_raw);
    Ok(pids.filter(|pid| kill_process(*pid, Signal::KILL).is_ok()).count())
}
