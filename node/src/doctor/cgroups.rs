//! Whether tasks get cgroups: without them limits are refused, and what a task left behind is found by
//! its session alone.

use super::Finding;
use crate::runtime::cgroup::{Cgroups, Limitable};

/// The name of the groups that are made for a moment, to see whether it works.
const TRIAL: &str = "swarm-doctor";

pub(super) fn check() -> Finding {
    judge(&Cgroups::trial(TRIAL), rustix::process::geteuid().is_root())
}

fn judge(can: &Limitable, root: bool) -> Finding {
    const CHECK: &str = "cgroups";
    let all = [("CPU", can.cpu), ("memory", can.memory), ("pids", can.pids)];
    let words = |wanted: bool| {
        let words: Vec<_> = all.iter().filter(|(_, has)| *has == wanted).map(|it| it.0).collect();
        words.join(", ")
    };
    let fix = if root {
        "mount cgroup2 at /sys/fs/cgroup, with the controllers cpu, memory and pids enabled (some boards: \
         cgroup_enable=memory on the kernel's command line)"
    } else {
        "run the daemon as root, or give its user a delegated cgroup (systemd: Delegate=yes)"
    };
    match (can.kind, words(true), words(false)) {
        (None, _, _) => {
            let found = "no writable cgroup: tasks with limits are refused";
            Finding::warn(CHECK, found, fix)
        }
        (Some(kind), limited, unlimited) if !unlimited.is_empty() => {
            let limited = if limited.is_empty() { "nothing" } else { &limited };
            let found =
                format!("{kind} limits {limited}; tasks with limits of {unlimited} are refused");
            Finding::warn(CHECK, found, fix)
        }
        (Some(kind), limited, _) => Finding::ok(CHECK, format!("{kind}, limits {limited}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn what_cannot_be_limited_is_named_with_the_way_to_get_it() {
        let all = Limitable { kind: Some("cgroup v2"), cpu: true, memory: true, pids: true };
        assert_eq!(
            judge(&all, true),
            Finding::ok("cgroups", "cgroup v2, limits CPU, memory, pids")
        );
        let board = judge(&Limitable { memory: false, ..all }, true);
        assert_eq!(board.verdict, Verdict::Warn);
        assert!(board.found.contains("of memory are refused"), "{board:?}");
        assert!(board.fix.contains("cgroup_enable=memory"), "{board:?}");
        let user = judge(&Limitable::default(), false);
        assert!(user.found.contains("no writable cgroup") && user.fix.contains("root"), "{user:?}");
    }
}
