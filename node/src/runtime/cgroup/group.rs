//! The groups of one task: found again from its record, killed, emptied, removed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::{v1, v2};

/// Rounds of killing by list: programs may fork meanwhile.
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
                // Freezing takes effect on each at its next step: what forks before is listed later.
                let killed = kill_listed(freezer);
                v1::freeze(freezer, false).ok();
                killed
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

    /// Makes a group below the task's own in v2, whose processes can be killed by themselves. `None`
    /// where there is no v2 group. It is a part of the task: it counts to the task's limits, is killed
    /// and removed with it.
    pub(crate) fn part(&self, name: &str) -> io::Result<Option<PathBuf>> {
        let Some(unified) = &self.unified else { return Ok(None) };
        let part = unified.join(name);
        fs::create_dir(&part)?;
        Ok(Some(part))
    }

    /// Removes the groups, which must be empty; those that are gone are fine.
    pub(crate) fn remove(&self) -> io::Result<()> {
        // What was killed in the middle of a probe has left its part.
        let parts = self.unified.iter().flat_map(fs::read_dir).flatten().flatten();
        for part in parts.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            fs::remove_dir(part.path()).ok();
        }
        for dir in self.unified.iter().chain(&self.joined) {
            match fs::remove_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Kills whoever is listed until nobody new is; `false` when there is no list.
fn kill_listed(group: &Path) -> bool {
    let mut killed = BTreeSet::new();
    for _round in 0..KILL_ROUNDS {
        let before = killed.len();
        if kill_once(group, &mut killed).is_err() {
            return false;
        }
        if killed.len() == before {
            break;
        }
    }
    true
}

/// Kills the processes that are in the group now and were not killed yet.
fn kill_once(group: &Path, killed: &mut BTreeSet<i32>) -> io::Result<()> {
    let listed = fs::read_to_string(group.join("cgroup.procs"))?;
    for pid in listed.lines().filter_map(|line| line.parse().ok()) {
        if killed.insert(pid) {
            // Who is gone by now needs no killing.
            Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
        }
    }
    Ok(())
}
