//! What the processes of tasks use: those of each task's cgroup, or, without one, of its session and mark.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read as _;

use rustix::param::{clock_ticks_per_second, page_size};
use swarm_model::id::TaskId;

use super::census::Census;
use super::processes::Stat;
use super::{Inner, account, control, exec};
use crate::runtime::{Failure, ProcessSample, Samples};

/// Bytes of a command line that are shown.
const COMMAND_MAX: u64 = 512;

/// All processes of running tasks, each task's by pid; without those that are not known. Blocking.
pub(super) fn sample(inner: &Inner, tasks: &[TaskId]) -> Samples {
    let machine = Machine::look();
    let of_task = |task: &TaskId| match pids(inner, *task, &machine.census) {
        Err(Failure::UnknownTask { .. }) => None,
        Err(failure) => Some((*task, Err(failure))),
        // Whoever ends meanwhile is left out.
        Ok(pids) => {
            Some((*task, Ok(pids.into_iter().filter_map(|pid| machine.one(pid)).collect())))
        }
    };
    tasks.iter().filter_map(of_task).collect()
}

/// The process ids of a running task. Blocking.
pub(super) fn pids(inner: &Inner, task: TaskId, census: &Census) -> Result<BTreeSet<i32>, Failure> {
    let dir = inner.run_dir(task);
    let start = exec::running(task, control::look(&dir)?)?;
    let launch =
        dir.launch().map_err(|error| Failure::at("read launch record in", dir.path(), error))?;
    Ok(launch.group.members().unwrap_or_else(|| census.kin(start.program, task)))
}

/// What is the same for all processes of one look.
#[derive(Debug, Default)]
struct Machine {
    /// `/etc/passwd`.
    passwd: String,
    uptime_ms: u64,
    census: Census,
}

impl Machine {
    fn look() -> Self {
        let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
        let uptime = uptime.split(' ').next().and_then(|seconds| seconds.parse().ok());
        Self {
            passwd: fs::read_to_string("/etc/passwd").unwrap_or_default(),
            uptime_ms: millis(uptime.unwrap_or(0.0)),
            census: Census::default(),
        }
    }

    fn one(&self, pid: i32) -> Option<ProcessSample> {
        let stat = Stat::read(pid).filter(|stat| !stat.zombie)?;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        let uid: u32 = field("Uid:")?.split_whitespace().next()?.parse().ok()?;
        let started_ms = stat.start_ticks.saturating_mul(1000) / clock_ticks_per_second();
        Some(ProcessSample {
            pid: pid.unsigned_abs(),
            parent: stat.parent.unsigned_abs(),
            user: account::name_of(uid, &self.passwd),
            cpu_us: stat.cpu_ticks.saturating_mul(1_000_000) / clock_ticks_per_second(),
            memory: stat.resident_pages.saturating_mul(page_size() as u64),
            age_ms: self.uptime_ms.saturating_sub(started_ms),
            command: command(pid).or_else(|| Some(format!("[{}]", field("Name:")?.trim())))?,
        })
    }
}

/// Seconds with a fraction, as the kernel writes them.
fn millis(seconds: f64) -> u64 {
    std::time::Duration::try_from_secs_f64(seconds)
        .map_or(0, |span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

fn command(pid: i32) -> Option<String> {
    let mut line = Vec::new();
    let file = File::open(format!("/proc/{pid}/cmdline")).ok()?;
    file.take(COMMAND_MAX).read_to_end(&mut line).ok()?;
    let words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let text = words.collect::<Vec<_>>().join(" ");
    let text = text.trim_end();
    (!text.is_empty()).then(|| text.to_owned())
}
