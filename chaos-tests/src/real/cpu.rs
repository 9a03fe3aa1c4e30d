//! Limits how much CPU some processes get, through a cgroup of our own (v1 or v2); gone when dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Period of the limit, in microseconds.
const PERIOD_US: u32 = 100_000;

/// Which kind of controller there is, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    /// The CPU hierarchy of cgroup v1.
    V1,
    /// The unified hierarchy.
    V2,
}

/// A limit in force.
#[derive(Debug)]
pub struct CpuLimit {
    dir: PathBuf,
    parent: PathBuf,
}

impl CpuLimit {
    /// The controller of this machine.
    pub fn available() -> Option<Controller> {
        if Path::new("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").exists() {
            return Some(Controller::V1);
        }
        let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.subtree_control").ok()?;
        controllers.split_whitespace().any(|name| name == "cpu").then_some(Controller::V2)
    }

    /// Lets the processes have `percent` of one CPU, all together.
    ///
    /// # Errors
    /// When there is no controller or it refuses.
    pub fn of(pids: &[i32], percent: u32) -> Result<Self> {
        let controller = Self::available().context("no cgroup CPU controller")?;
        let parent = PathBuf::from(match controller {
            Controller::V1 => "/sys/fs/cgroup/cpu",
            Controller::V2 => "/sys/fs/cgroup",
        });
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = parent.join(format!("swarm_chaos_{}_{number}", std::process::id()));
        fs::create_dir(&dir).with_context(|| format!("create {}", dir.display()))?;
        let limit = Self { dir, parent };
        let quota = percent * PERIOD_US / 100;
        match controller {
            Controller::V1 => {
                limit.set("cpu.cfs_period_us", &PERIOD_US.to_string())?;
                limit.set("cpu.cfs_quota_us", &quota.to_string())?;
            }
            Controller::V2 => limit.set("cpu.max", &format!("{quota} {PERIOD_US}"))?,
        }
        for pid in pids {
            limit.set("cgroup.procs", &pid.to_string())?;
        }
        Ok(limit)
    }

    fn set(&self, file: &str, value: &str) -> Result<()> {
        let path = self.dir.join(file);
        fs::write(&path, value).with_context(|| format!("write {value} to {}", path.display()))
    }

    /// Times the limit held a process back.
    ///
    /// # Errors
    /// When the controller cannot be read.
    pub fn throttled(&self) -> Result<u64> {
        let text = fs::read_to_string(self.dir.join("cpu.stat"))?;
        let count = text.lines().find_map(|line| line.strip_prefix("nr_throttled "));
        count.and_then(|count| count.parse().ok()).context("no nr_throttled in cpu.stat")
    }
}

impl Drop for CpuLimit {
    fn drop(&mut self) {
        let members = fs::read_to_string(self.dir.join("cgroup.procs")).unwrap_or_default();
        for pid in members.lines() {
            // One that is gone needs no move.
            let _gone = fs::write(self.parent.join("cgroup.procs"), pid);
        }
        if let Err(error) = fs::remove_dir(&self.dir) {
            tracing::error!(dir = %self.dir.display(), %error, "the CPU limit may still be there");
        }
    }
}
