//! What a scenario needs of the machine, and whether it is there: what can be tried is tried.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::Ask;
use super::verdict::skipped;
use crate::real::{CpuLimit, Disk, can_partition, network, swarm};

/// A need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Root and nft.
    Nft,
    /// A network namespace of its own.
    OwnNetwork,
    /// `strace` and the right to use it.
    Strace,
    /// ext4 on loop devices whose power can be cut; so many MiB of them.
    PowerCuts(u64),
    /// Small file systems in memory.
    SmallDisks,
    /// A CPU controller.
    CpuGroups,
    /// The library that shifts clocks.
    FakeTime,
}

/// Free disk that directories and logs of a cluster take at most.
const NODES_MIB: u64 = 512;
/// Free disk that the history of a scenario takes at most.
const HISTORY_MIB: u64 = 128;
/// Free disk that a minute of a soak writes as its history.
const SOAK_MIB_MINUTE: u64 = 5;

/// Checks that all of them are there, and what every run needs.
///
/// # Errors
/// What is missing, as a reason to skip.
pub(super) fn check_all(needs: &[Need], ask: &Ask) -> Result<()> {
    check_room(ask, HISTORY_MIB)?;
    needs.iter().try_for_each(|need| check(*need))?;
    // Last: cargo may have to build it.
    swarm().map_err(|error| skipped(format!("{error:#}")))?;
    Ok(())
}

/// Checks that there is room for the histories of a soak of so long, and what every run needs.
///
/// # Errors
/// What is missing, as a reason to skip.
pub(super) fn check_soak(ask: &Ask, time: Duration) -> Result<()> {
    check_all(&[], ask)?;
    check_room(ask, HISTORY_MIB.max(SOAK_MIB_MINUTE * time.as_secs().div_ceil(60)))
}

/// Checks that nodes and histories have room.
fn check_room(ask: &Ask, history_mib: u64) -> Result<()> {
    let room = |place: &Path, least| match too_little(place, least) {
        Ok(None) => Ok(()),
        Ok(Some(missing)) => Err(skipped(missing)),
        Err(error) => Err(skipped(format!("{error:#}"))),
    };
    room(&std::env::temp_dir(), NODES_MIB)?;
    std::fs::create_dir_all(&ask.out).map_err(|error| {
        skipped(format!("histories cannot go to {}: {error}", ask.out.display()))
    })?;
    room(&ask.out, history_mib)
}

/// Checks that it is there.
///
/// # Errors
/// What is missing, as a reason to skip.
pub(super) fn check(need: Need) -> Result<()> {
    let missing = match need {
        Need::Nft => (!can_partition())
            .then(|| "root and nft are needed (apt-get install nftables)".to_owned()),
        Need::OwnNetwork => (!network::is_own())
            .then(|| "root, unshare (util-linux) and ip (iproute2) are needed".to_owned()),
        Need::Strace => (!may_trace()).then(|| {
            "strace and the right to trace are needed (apt-get install strace)".to_owned()
        }),
        Need::PowerCuts(mib) => no_power_cuts(mib)?,
        Need::SmallDisks => no_mount("tmpfs", |at| Disk::small(at, 1)),
        Need::CpuGroups => (CpuLimit::available().is_none() || !is_root())
            .then(|| "root and a cgroup CPU controller are needed".to_owned()),
        Need::FakeTime => (fake_time().is_none())
            .then(|| "libfaketime is needed (apt-get install faketime)".to_owned()),
    };
    missing.map_or(Ok(()), |missing| Err(skipped(missing)))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn may_trace() -> bool {
    let words = ["-f", "-qq", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fdatasync", "true"];
    let tried = Command::new("strace").args(words).stdin(Stdio::null()).output();
    tried.is_ok_and(|done| done.status.success())
}

/// Tries a disk and cuts its power.
fn no_power_cuts(mib: u64) -> Result<Option<String>> {
    let too_little = too_little(&Disk::images(), mib)?;
    Ok(too_little.or_else(|| {
        no_mount("ext4 on a loop device (mount, mkfs.ext4 of e2fsprogs, perl)", |at| {
            let disk = Disk::ext4(at, 16)?;
            Disk::stop_all(&[at.to_owned()])?;
            Ok(disk)
        })
    }))
}

/// Why `disk` cannot be made here, if so.
fn no_mount(what: &str, disk: impl Fn(&Path) -> Result<Disk>) -> Option<String> {
    if !is_root() {
        return Some("root is needed".to_owned());
    }
    let tried = tempfile::tempdir().context("a temporary directory");
    let tried = tried.and_then(|scratch| disk(&scratch.path().join("tried")).map(drop));
    tried.err().map(|error| format!("{what} is needed: {error:#}"))
}

/// The library that shifts a program's wall clock.
pub(super) fn fake_time() -> Option<PathBuf> {
    let arch = format!("/usr/lib/{}-linux-gnu/faketime", std::env::consts::ARCH);
    let places = [arch.as_str(), "/usr/lib/faketime", "/usr/lib64/faketime"];
    places
        .iter()
        .map(|place| PathBuf::from(place).join("libfaketimeMT.so.1"))
        .find(|it| it.exists())
}

fn too_little(place: &Path, least: u64) -> Result<Option<String>> {
    let found = rustix::fs::statvfs(place).with_context(|| format!("look at {place:?}"))?;
    let free = found.f_bavail.saturating_mul(found.f_frsize) / (1024 * 1024);
    let told = || format!("{} has {free} MiB free, {least} are needed", place.display());
    Ok((free < least).then(told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_a_reason_to_skip() {
        let error = check(Need::PowerCuts(u64::MAX)).expect_err("no disk is that large");
        let verdict = super::super::Verdict::of(&Err(error));
        assert_eq!(verdict.code(), 4);
        assert!(verdict.to_string().contains("MiB free"), "{verdict}");
        let refused = || Err(anyhow::anyhow!("no loop device"));
        let told = no_mount("ext4", |_at| refused()).expect("it is missing");
        assert!(told == "root is needed" || told == "ext4 is needed: no loop device", "{told}");
    }

    #[test]
    fn histories_that_cannot_be_kept_are_a_reason_to_skip() {
        let out = PathBuf::from("/proc/nowhere");
        let ask = Ask { name: "x".to_owned(), seed: 1, short: true, rounds: None, out };
        let error = check_all(&[], &ask).expect_err("nobody writes there");
        assert_eq!(super::super::Verdict::of(&Err(error)).code(), 4);
    }

    #[test]
    fn a_soak_too_long_for_the_disk_is_skipped() {
        let out = std::env::temp_dir();
        let ask = Ask { name: "x".to_owned(), seed: 1, short: true, rounds: None, out };
        let error = check_room(&ask, u64::MAX).expect_err("no disk is that large");
        assert!(error.to_string().contains("MiB free"), "{error}");
    }
}
