//! The files of cgroup v1: limits, killing with the freezer's help, counting out-of-memory kills.

use std::io;
use std::path::Path;

use swarm_model::units::{Bytes, MilliCpu};

use super::{CPU_PERIOD_US, Refused, write};

/// Sets the CPU bandwidth of a group of the `cpu` hierarchy.
pub(super) fn limit_cpu(group: &Path, MilliCpu(milli): MilliCpu) -> Result<(), Refused> {
    let quota = milli.saturating_mul(CPU_PERIOD_US / 1000);
    write(&group.join("cpu.cfs_period_us"), &CPU_PERIOD_US.to_string())
        .and_then(|()| write(&group.join("cpu.cfs_quota_us"), &quota.to_string()))
        .map_err(|source| Refused { limit: "cpu", source })
}

/// Sets the memory of a group of the `memory` hierarchy; with swap where swap is accounted.
pub(super) fn limit_memory(group: &Path, Bytes(bytes): Bytes) -> Result<(), Refused> {
    let text = bytes.to_string();
    write(&group.join("memory.limit_in_bytes"), &text)
        .map_err(|source| Refused { limit: "memory", source })?;
    write(&group.join("memory.memsw.limit_in_bytes"), &text).ok();
    Ok(())
}

/// Sets the number of processes of a group of the `pids` hierarchy.
pub(super) fn limit_pids(group: &Path, pids: u64) -> Result<(), Refused> {
    write(&group.join("pids.max"), &pids.to_string())
        .map_err(|source| Refused { limit: "pids", source })
}

/// Holds every process of a group of the `freezer` hierarchy, or lets them go on.
pub(super) fn freeze(group: &Path, frozen: bool) -> io::Result<()> {
    write(&group.join("freezer.state"), if frozen { "FROZEN" } else { "THAWED" })
}

/// How often the memory limit killed something.
pub(super) fn oom_kills(group: &Path) -> u64 {
    super::counter(&group.join("memory.oom_control"), "oom_kill")
}
