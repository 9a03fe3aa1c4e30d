//! The files of cgroup v2: limits, killing, counting out-of-memory kills.

use std::fs;
use std::io;
use std::path::Path;

use swarm_model::resources::Limits;
use swarm_model::units::MilliCpu;

use super::{CPU_PERIOD_US, Refused, write};

/// Lets groups below `parent` use the controllers that `limits` need.
pub(super) fn enable(parent: &Path, limits: &Limits) -> Result<(), Refused> {
    let wanted = [
        ("cpu", limits.cpu.is_some()),
        ("memory", limits.memory.is_some()),
        ("pids", limits.pids.is_some()),
    ];
    let enabled = fs::read_to_string(parent.join("cgroup.subtree_control")).unwrap_or_default();
    for (controller, _) in wanted.into_iter().filter(|(_, wanted)| *wanted) {
        if enabled.split_whitespace().any(|name| name == controller) {
            continue;
        }
        write(&parent.join("cgroup.subtree_control"), &format!("+{controller}"))
            .map_err(|source| Refused { limit: controller, source })?;
    }
    Ok(())
}

/// Sets every limit that is asked for.
pub(super) fn limit(group: &Path, limits: &Limits) -> Result<(), Refused> {
    if let Some(MilliCpu(milli)) = limits.cpu {
        let quota = milli.saturating_mul(CPU_PERIOD_US / 1000);
        write(&group.join("cpu.max"), &format!("{quota} {CPU_PERIOD_US}"))
            .map_err(|source| Refused { limit: "cpu", source })?;
    }
    if let Some(bytes) = limits.memory {
        write(&group.join("memory.max"), &bytes.0.to_string())
            .map_err(|source| Refused { limit: "memory", source })?;
        // Neither file is on every kernel; without them swap counts separately, and a child may be
        // killed alone.
        write(&group.join("memory.swap.max"), "0").ok();
        write(&group.join("memory.oom.group"), "1").ok();
    }
    if let Some(pids) = limits.pids {
        write(&group.join("pids.max"), &pids.to_string())
            .map_err(|source| Refused { limit: "pids", source })?;
    }
    Ok(())
}

/// Kills everything in the group at once (Linux 5.14).
pub(super) fn kill(group: &Path) -> io::Result<()> {
    write(&group.join("cgroup.kill"), "1")
}

/// How often the memory limit killed something.
pub(super) fn oom_kills(group: &Path) -> u64 {
    super::counter(&group.join("memory.events"), "oom_kill")
}
