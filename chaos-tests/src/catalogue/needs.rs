//! What a scenario needs of the machine, and whether it is there.

use std::path::PathBuf;

use anyhow::Result;

use super::verdict::skipped;
use crate::real::{can_partition, network};

/// A need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// To be root.
    Root,
    /// Root and nft.
    Nft,
    /// A network namespace of its own.
    OwnNetwork,
    /// A program.
    Tool(&'static str),
    /// A CPU controller.
    CpuGroups,
    /// The library that shifts clocks.
    FakeTime,
    /// So many MiB of free disk in the temporary directory.
    DiskMib(u64),
}

/// Checks that all of them are there.
///
/// # Errors
/// What is missing, as a reason to skip.
pub(super) fn check(needs: &[Need]) -> Result<()> {
    for need in needs {
        let missing = match need {
            Need::Root => (!is_root()).then(|| "root is needed".to_owned()),
            Need::Nft => (!can_partition())
                .then(|| "root and nft are needed (apt-get install nftables)".to_owned()),
            Need::OwnNetwork => (!network::is_own())
                .then(|| "root, unshare (util-linux) and ip (iproute2) are needed".to_owned()),
            Need::Tool(name) => find(name)
                .is_none()
                .then(|| format!("{name} is needed (apt-get install {})", package(name))),
            Need::CpuGroups => (crate::real::CpuLimit::available().is_none() || !is_root())
                .then(|| "root and a cgroup CPU controller are needed".to_owned()),
            Need::FakeTime => (fake_time().is_none())
                .then(|| "libfaketime is needed (apt-get install faketime)".to_owned()),
            Need::DiskMib(least) => too_little_disk(*least)?,
        };
        if let Some(missing) = missing {
            return Err(skipped(missing));
        }
    }
    Ok(())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn package(program: &str) -> &str {
    match program {
        "mkfs.ext4" => "e2fsprogs",
        other => other,
    }
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut places: Vec<_> = std::env::split_paths(&path).collect();
    places.extend(["/sbin".into(), "/usr/sbin".into()]);
    places.into_iter().map(|place| place.join(program)).find(|file| file.exists())
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

fn too_little_disk(least: u64) -> Result<Option<String>> {
    let place = std::env::temp_dir();
    let found = rustix::fs::statvfs(&place)?;
    let free = found.f_bavail.saturating_mul(found.f_frsize) / (1024 * 1024);
    let told = || format!("{} has {free} MiB free, {least} are needed", place.display());
    Ok((free < least).then(told))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_a_reason_to_skip() {
        let error = check(&[Need::Tool("no-such-program")]).expect_err("it is missing");
        let verdict = super::super::Verdict::of(&Err(error));
        assert_eq!(verdict.code(), 4);
        assert!(verdict.to_string().contains("no-such-program is needed"), "{verdict}");
        let error = check(&[Need::DiskMib(u64::MAX)]).expect_err("no disk is that large");
        assert!(error.to_string().contains("MiB free"), "{error}");
        check(&[Need::Tool("sh")]).expect("a shell is there");
    }
}
