//! Disks of nodes: an ext4 file system on a loop device whose power can be cut, or a small one in
//! memory that gets full. Unmounted when dropped.
//!
//! The cut is ext4's own shutdown without a flush of its journal, as file system tests use it: from
//! that instant nothing that was not synced reaches the device. Mounting again replays the journal.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

/// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`, for every directory named. One process for
/// all of them: they go within a millisecond.
const SHUTDOWN: &str = r#"for my $at (@ARGV) { open(my $fh, "<", $at) or die "$at: $!";
    my $flags = pack("L", 2); ioctl($fh, 0x8004587D, $flags) or die "$at: $!"; }"#;
/// The images lie in memory where that is large enough: what is tested is the file system above.
const MEMORY: &str = "/dev/shm";
/// A memory file system that large takes the disks of any cluster here.
const MEMORY_MIB: u64 = 2048;
/// Looks at a file system that somebody still uses, a tenth of a second each.
const BUSY_LOOKS: u32 = 100;

/// A file system of a node.
#[derive(Debug)]
pub struct Disk {
    at: PathBuf,
    image: Option<PathBuf>,
    mounted: bool,
}

impl Disk {
    /// An empty ext4 file system of so many MiB at `at`, whose power can be cut.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn ext4(at: &Path, mib: u64) -> Result<Self> {
        let tail = at.to_string_lossy().replace('/', "_");
        let image = Self::images().join(format!("swarm_chaos{tail}.img"));
        fs::create_dir_all(at)?;
        fs::File::create(&image)?.set_len(mib * 1024 * 1024)?;
        let mut disk = Self { at: at.to_owned(), image: Some(image.clone()), mounted: false };
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        disk.mount()?;
        // A data directory is empty before its node is made.
        fs::remove_dir(at.join("lost+found"))?;
        Ok(disk)
    }

    /// The directory of the images.
    pub fn images() -> PathBuf {
        let memory = rustix::fs::statvfs(MEMORY).map(|it| it.f_blocks.saturating_mul(it.f_frsize));
        match memory {
            Ok(size) if size >= MEMORY_MIB * 1024 * 1024 => PathBuf::from(MEMORY),
            _ => std::env::temp_dir(),
        }
    }

    /// An empty file system in memory of so many MiB at `at`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn small(at: &Path, mib: u64) -> Result<Self> {
        fs::create_dir_all(at)?;
        let size = format!("size={mib}m");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at))?;
        Ok(Self { at: at.to_owned(), image: None, mounted: true })
    }

    /// Where it is mounted.
    pub fn at(&self) -> &Path {
        &self.at
    }

    /// Mounts what the device has.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn mount(&mut self) -> Result<()> {
        let image = self.image.as_ref().context("it has no device")?;
        run(Command::new("mount").args(["-o", "loop"]).arg(image).arg(&self.at))?;
        self.mounted = true;
        Ok(())
    }

    /// Stops the file systems at these places where they stand.
    ///
    /// # Errors
    /// When one goes on.
    pub fn stop_all(places: &[PathBuf]) -> Result<()> {
        run(Command::new("perl").args(["-e", SHUTDOWN]).args(places))
    }

    /// Unmounts it, once its last user is gone.
    ///
    /// # Errors
    /// When somebody goes on using it.
    pub fn unmount(&mut self) -> Result<()> {
        for _ in 0..BUSY_LOOKS {
            if run(Command::new("umount").arg(&self.at)).is_ok() {
                self.mounted = false;
                return Ok(());
            }
            // Processes that were killed let go of their files a little later.
            let _interrupted = rustix::thread::nanosleep(&rustix::thread::Timespec {
                tv_sec: 0,
                tv_nsec: 100_000_000,
            });
        }
        bail!("{} is still in use", self.at.display())
    }

    /// Fills it to the last byte with a file of somebody else.
    ///
    /// # Errors
    /// When it does not get full.
    pub fn fill(&self) -> Result<Filler> {
        let path = self.at.join("filler");
        let mut dd = Command::new("dd");
        dd.args(["if=/dev/zero", "bs=4096", "status=none"]).arg(format!("of={}", path.display()));
        let full = dd.stderr(Stdio::null()).status().context("run dd")?;
        ensure!(!full.success(), "{} did not get full", self.at.display());
        Ok(Filler(path))
    }
}

/// What fills a disk; gone when dropped.
#[derive(Debug)]
pub struct Filler(PathBuf);

impl Drop for Filler {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::error!(file = %self.0.display(), %error, "the disk stays full");
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted
            && let Err(error) = self.unmount()
        {
            tracing::error!(at = %self.at.display(), %error, "may still be mounted");
        }
        if let Some(image) = &self.image
            && let Err(error) = fs::remove_file(image)
        {
            tracing::error!(image = %image.display(), %error, "the image may be left");
        }
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(())
}
