//! The groups of one task: found again from its record, killed, emptied, removed.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use super::{make, v1, v2};

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
            // Before Linux 5.14 there is no such file; then the lists of it and its parts have to do.
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

    /// The processes of the task, with those that run beside its program; `None` when there is no group to tell.
    pub(crate) fn members(&self) -> Option<BTreeSet<i32>> {
        let group = self.unified.as_ref().or(self.freezer.as_ref()).or(self.joined.first())?;
        listed(group).ok()
    }

    /// Whether the memory limit killed some process of the task.
    pub(crate) fn had_oom_kill(&self) -> bool {
        let v1 = self.memory.as_deref().map_or(0, v1::oom_kills);
        v1 + self.unified.as_deref().map_or(0, v2::oom_kills) > 0
    }

    /// Makes a group below the task's own, whose processes can be killed by themselves. It is a part of
    /// the task: it counts to the task's limits, is killed and removed with it.
    pub(crate) fn part(&self, name: &str) -> io::Result<Part> {
        let joined = self.joined.clone();
        let mut part = Part { group: Self { joined, ..Self::default() }, own: Self::default() };
        if let Some(unified) = &self.unified {
            let dir = unified.join(name);
            make(&dir)?;
            part.group.unified = Some(dir.clone());
            part.own.unified = Some(dir);
        } else if let Some(freezer) = &self.freezer {
            let dir = freezer.join(name);
            make(&dir)?;
            part.group.joined.retain(|joined| joined != freezer);
            part.group.joined.push(dir.clone());
            part.own = Self { joined: vec![dir.clone()], freezer: Some(dir), ..Self::default() };
        }
        Ok(part)
    }

    /// Removes the groups, which must be empty; those that are gone are fine.
    pub(crate) fn remove(&self) -> io::Result<()> {
        // What was killed in the middle of a probe, or of one more program, has left its part.
        for part in self.unified.iter().chain(&self.freezer).flat_map(|group| parts(group)) {
            fs::remove_dir(part).ok();
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

/// A part of a task's groups, for one more program in it. Nothing but what came of that is in it.
#[derive(Debug)]
pub(crate) struct Part {
    /// What the program is to be born in and to join. Not to kill by: the limits of v1 are the task's.
    pub(crate) group: Group,
    /// What is the part's alone; empty where no group can be made.
    own: Group,
}

impl Part {
    /// Kills every process of the part. `false` when there is no group to do it by.
    pub(crate) fn kill(&self) -> bool {
        self.own.kill()
    }

    /// Removes what is the part's alone, which must be empty.
    pub(crate) fn remove(&self) -> io::Result<()> {
        self.own.remove()
    }
}

/// The groups below one.
fn parts(group: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    let groups = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    groups.map(|entry| entry.path())
}

/// Kills whoever is listed until nobody new is; `false` when there is no list.
pub(super) fn kill_listed(group: &Path) -> bool {
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

/// The processes that are in the group and its parts now.
fn listed(group: &Path) -> io::Result<BTreeSet<i32>> {
    let mut listed = fs::read_to_string(group.join("cgroup.procs"))?;
    // One that is gone meanwhile had nobody in it.
    let parts = parts(group).map(|part| fs::read_to_string(part.join("cgroup.procs")));
    listed.extend(parts.flatten());
    Ok(listed.lines().filter_map(|line| line.parse().ok()).collect())
}

/// Kills the processes that are in the group and its parts now and were not killed yet.
fn kill_once(group: &Path, killed: &mut BTreeSet<i32>) -> io::Result<()> {
    for pid in listed(group)? {
        if killed.insert(pid) {
            // Who is gone by now needs no killing.
            Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
        }
    }
    Ok(())
}
