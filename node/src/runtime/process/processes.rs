//! What `/proc` says about processes: parents, sessions, start times.
//!
//! A pid alone names nobody: it is used again. [`ProcessRef`] adds the start time.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::fs::Timespec;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, getpid, kill_process, pidfd_open, wait,
};
use serde::{Deserialize, Serialize};

use crate::runtime::cgroup::Part;

/// Rounds of looking for processes that were forked while the others were being stopped.
const STOP_ROUNDS: usize = 50;

/// How often killing what is left is tried again; 0.5 ms after the first time, then twice as long each
/// time up to 32 ms: about 2 s in all.
const REAP_ROUNDS: u32 = 64;
const REAP_PAUSE_NS: i64 = 500_000;
const REAP_DOUBLINGS: u32 = 6;

/// One process of this boot. Part of the start record: its fields are a disk format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProcessRef {
    pub(super) pid: i32,
    /// Clock ticks from boot to its start.
    pub(super) start_ticks: u64,
}

impl ProcessRef {
    /// The process that has this pid now.
    pub(super) fn of(pid: Pid) -> Option<Self> {
        let stat = Stat::read(pid.as_raw_pid())?;
        Some(Self { pid: stat.pid, start_ticks: stat.start_ticks })
    }

    /// A handle on it, unless it is gone.
    pub(super) fn open(self) -> Option<OwnedFd> {
        let fd = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        // Looked at after the handle was made: it stays with this very process.
        let stat = Stat::read(self.pid)?;
        (stat.start_ticks == self.start_ticks).then_some(fd)
    }
}

/// The part of `/proc/<pid>/stat` that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) pid: i32,
    pub(super) parent: i32,
    pub(super) session: i32,
    pub(super) start_ticks: u64,
    pub(super) zombie: bool,
    /// Processor time, its own and the kernel's for it.
    pub(super) cpu_ticks: u64,
    pub(super) resident_pages: u64,
}

impl Stat {
    pub(super) fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name in parentheses may hold anything, so the fields are counted from its end.
    fn parse(text: &str) -> Option<Self> {
        let pid = text.split(' ').next()?.parse().ok()?;
        let rest: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Self {
            pid,
            zombie: *rest.first()? == "Z",
            parent: rest.get(1)?.parse().ok()?,
            session: rest.get(3)?.parse().ok()?,
            start_ticks: rest.get(19)?.parse().ok()?,
            cpu_ticks: number(rest.get(11)?)? + number(rest.get(12)?)?,
            resident_pages: number(rest.get(21)?)?,
        })
    }
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// Everything that runs, zombies excepted.
pub(super) fn running() -> Vec<Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Stat::read).filter(|stat| !stat.zombie).collect()
}

/// What descends from `root`, itself not included.
pub(super) fn descendants(root: i32) -> BTreeSet<i32> {
    let running = running();
    let mut found = BTreeSet::from([root]);
    loop {
        let before = found.len();
        found.extend(
            running
                .iter()
                .filter(|stat| found.contains(&stat.parent))
                .map(|stat| stat.pid)
                .collect::<Vec<_>>(),
        );
        if found.len() == before {
            found.remove(&root);
            return found;
        }
    }
}

/// Kills all that `find` finds: stops them first until no new ones turn up, so that none escapes by
/// forking meanwhile.
pub(super) fn kill_all(find: impl Fn() -> BTreeSet<i32>) {
    let send = |pid: i32, signal| Pid::from_raw(pid).map(|pid| kill_process(pid, signal));
    let mut stopped = BTreeSet::new();
    for _round in 0..STOP_ROUNDS {
        let fresh: Vec<i32> = find().difference(&stopped).copied().collect();
        if fresh.is_empty() {
            break;
        }
        for pid in fresh {
            send(pid, Signal::STOP);
            stopped.insert(pid);
        }
    }
    for pid in find() {
        send(pid, Signal::KILL);
    }
}

/// Kills and reaps all that descends from this process; `at_once` may do most of it. What hangs in the
/// kernel is given up.
pub(super) fn end_tree(at_once: impl Fn() -> bool) {
    for round in 0..REAP_ROUNDS {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some(_reaped)) => {}
                Ok(None) => break,
                Err(_no_child) => {
                    // In a task's group are probes, too, which descend from the daemon.
                    at_once();
                    return;
                }
            }
        }
        if !at_once() {
            kill_all(|| descendants(getpid().as_raw_pid()));
        }
        pause(round);
    }
}

/// Kills and reaps all that came of one more program in a task: what is in its part of the task's groups,
/// and what descends from this process. Orphans in a private pid namespace are found by the group alone.
pub(super) fn end_part(part: &Part) {
    end_tree(|| {
        part.kill();
        false
    });
    for round in 0..REAP_ROUNDS {
        // Only when the last one has left.
        if part.remove().is_ok() {
            return;
        }
        part.kill();
        pause(round);
    }
}

/// Longer from round to round.
fn pause(round: u32) {
    let pause = Timespec { tv_sec: 0, tv_nsec: REAP_PAUSE_NS << round.min(REAP_DOUBLINGS) };
    rustix::event::poll(&mut [], Some(&pause)).ok();
}

/// Now, for the small processes beside a task: they are no part of a simulation.
pub(super) fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "each of them is a process of its own")]
    Instant::now()
}

/// Which boot of the machine this is.
pub(super) fn boot_id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_whatever_the_program_is_called() {
        let fields = "S 7 8 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 999 33";
        for name in ["sh", "a) S 1 (b", "x y"] {
            let stat = Stat::parse(&format!("42 ({name}) {fields}"));
            let expect = Stat {
                pid: 42,
                parent: 7,
                session: 9,
                start_ticks: 12345,
                zombie: false,
                cpu_ticks: 5 + 6,
                resident_pages: 33,
            };
            assert_eq!(stat, Some(expect), "{name}");
        }
        assert_eq!(Stat::parse("42 (cut"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn a_process_is_known_by_pid_and_start() {
        let me = ProcessRef::of(getpid()).unwrap();
        assert!(me.open().is_some());
        assert!(ProcessRef { start_ticks: me.start_ticks + 1, ..me }.open().is_none());
        assert!(ProcessRef { pid: i32::MAX, ..me }.open().is_none());
    }
}
