//! Whether the disk keeps what is synced to it, soon enough, and has room.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{StatVfs, statvfs};
use tokio::time::Instant;

use super::Finding;
use crate::disk::RESERVE_BYTES;

/// How often a block is written and synced.
const SYNCS: usize = 20;
/// About what a small write costs the log.
const BLOCK: [u8; 4096] = [0x5a; 4096];
/// A leader that syncs slower than this in the median makes every change wait.
const SLOW: Duration = Duration::from_millis(30);
/// Beyond this one sync takes longer than followers wait for their leader.
const STALLS: Duration = Duration::from_millis(500);
/// Below this the log and some images of the state still have room, but not for long.
const ROOMY_BYTES: u64 = 1 << 30;

pub(super) fn check(data_dir: &Path) -> Vec<Finding> {
    let Some(dir) = nearest(data_dir) else {
        let found = format!("{}: nothing on its path is a directory", data_dir.display());
        return vec![Finding::bad("disk", found, "choose another --data-dir")];
    };
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut findings = vec![kept(&dir, fs_type(&mounts, &dir))];
    match statvfs(&dir) {
        Ok(stat) => findings.push(room(&dir, free(&stat))),
        Err(error) => findings.push(unreadable("disk room", &dir, &error.into())),
    }
    findings.push(match syncs(&dir) {
        Ok(times) => sync_times(times),
        Err(error) => unreadable("disk sync", &dir, &error),
    });
    findings
}

/// The directory, or what it will be made in.
fn nearest(dir: &Path) -> Option<PathBuf> {
    let above = dir.ancestors().find(|it| it.exists())?;
    above.is_dir().then(|| fs::canonicalize(above).unwrap_or_else(|_| above.to_owned()))
}

fn unreadable(check: &str, dir: &Path, error: &io::Error) -> Finding {
    let found = format!("cannot be found out in {}: {error}", dir.display());
    Finding::warn(check, found, "run doctor as the user of the daemon")
}

/// The type of the file system that `dir` is on, by the text of `/proc/self/mountinfo`: of the mounts above
/// it the lowest, of these the last.
fn fs_type<'a>(mounts: &'a str, dir: &Path) -> &'a str {
    let found = mounts.lines().filter_map(|line| {
        let (mount, fs) = line.split_once(" - ")?;
        let (at, fs) = (Path::new(mount.split(' ').nth(4)?), fs.split(' ').next()?);
        dir.starts_with(at).then(|| (at.components().count(), fs))
    });
    found.max_by_key(|(depth, _)| *depth).map_or("unknown", |(_, fs)| fs)
}

fn kept(dir: &Path, fs: &str) -> Finding {
    const CHECK: &str = "disk kept";
    let found = format!("{} is on {fs}", dir.display());
    match fs {
        "tmpfs" | "ramfs" => Finding::bad(
            CHECK,
            format!("{found}: a power cut takes all of it"),
            "choose a --data-dir on a disk",
        ),
        "nfs" | "nfs4" | "cifs" | "9p" | "fuse" | "fuse.sshfs" => Finding::warn(
            CHECK,
            format!("{found}: what a sync means there is the server's choice"),
            "choose a --data-dir on a disk of this machine",
        ),
        _ => Finding::ok(CHECK, found),
    }
}

fn free(stat: &StatVfs) -> u64 {
    stat.f_bavail.saturating_mul(stat.f_frsize)
}

fn room(dir: &Path, free: u64) -> Finding {
    const CHECK: &str = "disk room";
    let found = format!("{} MiB free in {}", free >> 20, dir.display());
    if free < RESERVE_BYTES {
        let found = format!("{found}: changes are refused below {} MiB", RESERVE_BYTES >> 20);
        return Finding::bad(CHECK, found, "free space there");
    }
    if free < ROOMY_BYTES {
        return Finding::warn(CHECK, found, "leave a GiB for the log, snapshots and tasks' output");
    }
    Finding::ok(CHECK, found)
}

/// Removes the file when it is done with.
struct Trial(PathBuf);

impl Drop for Trial {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}

fn syncs(dir: &Path) -> io::Result<Vec<Duration>> {
    let path = dir.join(format!(".swarm-doctor-{}", std::process::id()));
    let mut file: File = OpenOptions::new().write(true).create_new(true).open(&path)?;
    let _removed = Trial(path);
    let one = |file: &mut File| {
        let began = Instant::now();
        file.write_all(&BLOCK)?;
        file.sync_data()?;
        Ok(began.elapsed())
    };
    (0..SYNCS).map(|_| one(&mut file)).collect()
}

fn sync_times(mut times: Vec<Duration>) -> Finding {
    const CHECK: &str = "disk sync";
    times.sort();
    let (Some(median), Some(worst)) = (times.get(times.len() / 2), times.last()) else {
        return Finding::warn(CHECK, "nothing was measured", "");
    };
    let millis = |time: &Duration| time.as_secs_f64() * 1000.0;
    let found = format!(
        "4 KiB are synced in {:.1} ms (worst of {SYNCS}: {:.1})",
        millis(median),
        millis(worst)
    );
    let fix = "use a disk with faster syncs: flash cards of a better class, or an SSD; give heavy writers \
               another one";
    match (median, worst) {
        (_, worst) if *worst > STALLS => {
            Finding::warn(CHECK, format!("{found}: longer than leaders are waited for"), fix)
        }
        (median, _) if *median > SLOW => {
            Finding::warn(CHECK, format!("{found}: each change waits for that"), fix)
        }
        _ => Finding::ok(CHECK, found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn the_lowest_mount_above_a_directory_is_its_own() {
        let mounts = "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
                      22 21 0:20 / /run rw,nosuid shared:2 - tmpfs tmpfs rw\n\
                      23 21 8:2 / /run/data rw - xfs /dev/sdb rw\n";
        assert_eq!(fs_type(mounts, Path::new("/var/lib/swarm")), "ext4");
        assert_eq!(fs_type(mounts, Path::new("/run/swarm")), "tmpfs");
        assert_eq!(fs_type(mounts, Path::new("/run/data/swarm")), "xfs");
        assert_eq!(fs_type(mounts, Path::new("/runner")), "ext4");
        assert_eq!(fs_type("", Path::new("/")), "unknown");
    }

    #[test]
    fn memory_and_others_disks_keep_nothing_for_sure() {
        let verdict = |fs| kept(Path::new("/d"), fs).verdict;
        assert_eq!((verdict("tmpfs"), verdict("nfs4")), (Verdict::Bad, Verdict::Warn));
        assert_eq!((verdict("ext4"), verdict("overlay")), (Verdict::Ok, Verdict::Ok));
    }

    #[test]
    fn room_is_judged_by_what_is_kept_back() {
        let verdict = |free| room(Path::new("/d"), free).verdict;
        assert_eq!(verdict(RESERVE_BYTES - 1), Verdict::Bad);
        assert_eq!(verdict(RESERVE_BYTES), Verdict::Warn);
        assert_eq!(verdict(ROOMY_BYTES), Verdict::Ok);
    }

    #[test]
    fn slow_syncs_are_told_from_single_stalls() {
        let times = |usual, worst| {
            let mut times = vec![Duration::from_millis(usual); SYNCS - 1];
            times.push(Duration::from_millis(worst));
            sync_times(times)
        };
        assert_eq!(times(1, 20).verdict, Verdict::Ok);
        assert!(times(40, 41).found.contains("each change waits"), "{:?}", times(40, 41));
        assert!(times(1, 600).found.contains("leaders are waited for"), "{:?}", times(1, 600));
    }

    #[test]
    fn nothing_is_left_behind_and_a_directory_that_is_not_there_yet_is_looked_at_above() {
        let dir = tempfile::tempdir().expect("a directory");
        let findings = check(&dir.path().join("not/there/yet"));
        assert_eq!(findings.len(), 3, "{findings:?}");
        assert!(findings.iter().all(|it| it.check != "disk sync" || it.found.contains("4 KiB")));
        assert_eq!(fs::read_dir(dir.path()).expect("there").count(), 0);
        let file = dir.path().join("file");
        fs::write(&file, "").expect("written");
        assert_eq!(check(&file.join("below"))[0].verdict, Verdict::Bad);
    }
}
