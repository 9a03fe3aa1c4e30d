//! What this machine is and offers, as the node says it of itself.

use std::collections::BTreeMap;
use std::fs;

use swarm_model::node::NodeDescription;
use swarm_model::resources::Resources;
use swarm_model::units::{Bytes, MilliCpu};

/// Describes this machine, which is told to offer `generic` beside what it is seen to have.
pub fn describe(
    labels: BTreeMap<String, String>,
    generic: BTreeMap<String, u64>,
) -> NodeDescription {
    let uname = rustix::system::uname();
    NodeDescription {
        hostname: uname.nodename().to_string_lossy().into_owned(),
        os: std::env::consts::OS.to_owned(),
        arch: uname.machine().to_string_lossy().into_owned(),
        resources: Resources { cpu: cpus(), memory: memory(), generic },
        version: env!("CARGO_PKG_VERSION").to_owned(),
        labels,
    }
}

/// How processes are limited here: `cgroup v1`, `cgroup v2` or `none`.
pub fn cgroup_kind() -> &'static str {
    let v2 = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    if v2.split_whitespace().any(|controller| controller == "memory") {
        "cgroup v2"
    } else if fs::metadata("/sys/fs/cgroup/memory/memory.limit_in_bytes").is_ok() {
        "cgroup v1"
    } else {
        "none"
    }
}

fn cpus() -> MilliCpu {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    MilliCpu(u64::try_from(count).unwrap_or(1) * 1000)
}

fn memory() -> Bytes {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    Bytes(total_memory(&text).unwrap_or(0))
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let text = "MemTotal:       24684092 kB\nMemFree:  1 kB\n";
        assert_eq!(total_memory(text), Some(24_684_092 * 1024));
        assert_eq!(total_memory("nothing"), None);
    }

    #[test]
    fn this_machine_has_something_to_offer() {
        let description = describe(BTreeMap::new(), BTreeMap::from([("licence".to_owned(), 2)]));
        assert!(description.resources.cpu.0 >= 1000);
        assert!(description.resources.memory.0 > 0);
        assert_eq!(description.resources.generic("licence"), 2);
    }
}
