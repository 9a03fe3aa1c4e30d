//! Whether the kernel has what tasks and their supervisors are started with.

use std::io;

use rustix::io::Errno;
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use super::Finding;

/// The first kernel that starts a program inside its cgroup (`clone3` with `CLONE_INTO_CGROUP`): before
/// it, a program could fork away before it is found.
const INTO_CGROUP: (u32, u32) = (5, 7);
/// The first kernel in which a program joins the namespaces of another that it holds (`setns` with a
/// pidfd): before it, `swarm exec` and probes' commands fail in tasks that have some of their own.
const JOIN_BY_PIDFD: (u32, u32) = (5, 8);

pub(super) fn check() -> Finding {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let pidfd = pidfd_open(getpid(), PidfdFlags::empty()).map(drop);
    judge(&release, pidfd.map_err(|errno| (errno == Errno::NOSYS, io::Error::from(errno))))
}

/// `pidfd`: whether a process can be held; else whether the kernel does not know of it at all, and what
/// it said.
fn judge(release: &str, pidfd: Result<(), (bool, io::Error)>) -> Finding {
    const CHECK: &str = "kernel";
    match pidfd {
        Err((true, _)) => {
            let found = format!("Linux {release} has no pidfd_open");
            Finding::bad(CHECK, found, "run Linux 5.8 or later")
        }
        Err((false, error)) => {
            let found = format!("Linux {release} lets no process be held: {error}");
            Finding::bad(CHECK, found, "allow pidfd_open in the sandbox (seccomp) around swarm")
        }
        Ok(()) if version(release).is_some_and(|have| have < INTO_CGROUP) => {
            let found = format!("Linux {release} starts programs outside of their cgroup");
            Finding::warn(CHECK, found, "run Linux 5.8 or later")
        }
        Ok(()) if version(release).is_some_and(|have| have < JOIN_BY_PIDFD) => {
            let found = format!(
                "Linux {release} runs no `swarm exec` and no probe's command in a task that has \
                 namespaces or a host name of its own"
            );
            Finding::warn(CHECK, found, "run Linux 5.8 or later")
        }
        Ok(()) => Finding::ok(CHECK, format!("Linux {release}")),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn releases_are_read_and_compared_as_numbers() {
        assert_eq!(version("6.1.0-13-arm64"), Some((6, 1)));
        assert_eq!(version("5.10"), Some((5, 10)));
        assert_eq!(version("mine"), None);
        assert_eq!(judge("5.10.0", Ok(())).verdict, Verdict::Ok);
        assert_eq!(judge("5.8", Ok(())).verdict, Verdict::Ok);
        assert_eq!(judge("5.7.19", Ok(())).verdict, Verdict::Warn);
        assert_eq!(judge("5.6.19", Ok(())).verdict, Verdict::Warn);
        assert_eq!(judge("mine", Ok(())).verdict, Verdict::Ok);
    }

    #[test]
    fn a_missing_call_and_a_forbidden_one_are_mended_differently() {
        let old = judge("4.19", Err((true, Errno::NOSYS.into())));
        let sandboxed = judge("6.1", Err((false, Errno::PERM.into())));
        assert_eq!((old.verdict, sandboxed.verdict), (Verdict::Bad, Verdict::Bad));
        assert!(old.fix.contains("5.8") && sandboxed.fix.contains("seccomp"), "{sandboxed:?}");
    }

    #[test]
    fn this_machine_is_fit_to_run_the_tests() {
        assert!(check().verdict < Verdict::Bad, "{:?}", check());
    }
}
