//! What the processes of a task use: those of its cgroup, or, without one, of its session and mark.

use std::collections::BTreeSet;
use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};
use swarm_model::id::TaskId;

use super::processes::{Stat, kin};
use super::{Inner, account, control, exec};
use crate::runtime::{Failure, ProcessSample};

/// Bytes of a command line that are shown.
const COMMAND_MAX: usize = 4096;

/// All processes of a running task, by pid. Blocking.
pub(super) fn sample(inner: &Inner, task: TaskId) -> Result<Vec<ProcessSample>, Failure> {
    let pids = pids(inner, task)?;
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let uptime = uptime.split(' ').next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0.0);
    // Whoever ends meanwhile is left out.
    Ok(pids.into_iter().filter_map(|pid| one(pid, &passwd, uptime)).collect())
}

/// The process ids of a running task. Blocking.
pub(super) fn pids(inner: &Inner, task: TaskId) -> Result<BTreeSet<i32>, Failure> {
    let dir = inner.run_dir(task);
    let start = exec::running(task, control::settled(&dir)?)?;
    let launch =
        dir.launch().map_err(|error| Failure::at("read launch record in", dir.path(), error))?;
    let mark = format!("SWARM_TASK_ID={task}");
    Ok(launch.group.members().unwrap_or_else(|| kin(start.program, &mark)))
}

fn one(pid: i32, passwd: &str, uptime: f64) -> Option<ProcessSample> {
    let stat = Stat::read(pid).filter(|stat| !stat.zombie)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let uid: u32 = field("Uid:")?.split_whitespace().next()?.parse().ok()?;
    let started_ms = stat.start_ticks.saturating_mul(1000) / clock_ticks_per_second();
    Some(ProcessSample {
        pid: pid.unsigned_abs(),
        parent: stat.parent.unsigned_abs(),
        user: account::name_of(uid, passwd),
        cpu_us: stat.cpu_ticks.saturating_mul(1_000_000) / clock_ticks_per_second(),
        memory: stat.resident_pages.saturating_mul(page_size() as u64),
        age_ms: millis(uptime).saturating_sub(started_ms),
        command: command(pid).or_else(|| Some(format!("[{}]", field("Name:")?.trim())))?,
    })
}

/// Seconds with a fraction, as the kernel writes them.
fn millis(seconds: f64) -> u64 {
    std::time::Duration::try_from_secs_f64(seconds)
        .map_or(0, |span| u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

fn command(pid: i32) -> Option<String> {
    let mut line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    line.truncate(COMMAND_MAX);
    let words = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let text = words.collect::<Vec<_>>().join(" ");
    let text = text.trim_end();
    (!text.is_empty()).then(|| text.to_owned())
}
