//! From a tar stream into a directory.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, fchmod, futimens, linkat, mkdirat,
    openat, renameat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use tar::{Archive, Entry, EntryType};
use utoipa::ToSchema;

use super::{ArchiveError, place};

/// What the names of the archive become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Naming {
    /// They stay: the destination is a directory that is there.
    Kept,
    /// As `cp` does: they stay when the destination is a directory, else it is the new name of the one
    /// thing that the archive has.
    Copied,
}

/// Writes what the tar stream `input` has to `path`, which lies below `root`. Files that are there are
/// replaced, each as a whole. Owners are not taken over, nor bits beyond the permissions.
///
/// # Errors
/// At the first entry that is refused or cannot be written.
pub fn unpack(
    root: impl AsFd,
    path: &str,
    naming: Naming,
    input: impl Read,
) -> Result<(), ArchiveError> {
    let inside = place::of_person(path)?;
    let failed = |error| ArchiveError::at("open", Path::new(path), error);
    let (base, top) = match (place::open_dir(&root, &inside), naming) {
        (Ok(base), _) => (base, None),
        (Err(Errno::NOENT | Errno::NOTDIR), Naming::Copied) if !path.ends_with('/') => {
            let name = inside.file_name().ok_or_else(|| failed(Errno::NOENT))?;
            let above = inside.parent().unwrap_or(Path::new(""));
            (place::open_dir(&root, above).map_err(failed)?, Some(name.to_owned()))
        }
        (Err(error), _) => return Err(failed(error)),
    };
    let mut unpacker = Unpacker { base, top, first: None };
    let mut archive = Archive::new(input);
    for entry in archive.entries().map_err(ArchiveError::Damaged)? {
        unpacker.entry(entry.map_err(ArchiveError::Damaged)?)?;
    }
    Ok(())
}

struct Unpacker {
    base: OwnedFd,
    /// The new name of the one thing that the archive has.
    top: Option<OsString>,
    /// Its name in the archive.
    first: Option<OsString>,
}

impl Unpacker {
    fn entry<R: Read>(&mut self, mut entry: Entry<'_, R>) -> Result<(), ArchiveError> {
        let shown = entry.path().map_err(ArchiveError::Damaged)?.into_owned();
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            return Ok(());
        }
        let path = self.renamed(&shown)?;
        let failed = |what| move |error| (what, error);
        let done = match kind {
            EntryType::Directory => self.directory(&path, &entry).map_err(failed("make")),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                return self.file(&path, &mut entry);
            }
            EntryType::Symlink => {
                let target = target(&entry, &shown)?;
                let depth = path.components().count();
                if leaves(&target, depth.saturating_sub(1)) {
                    let why = format!("it is a link to {}, outside", target.display());
                    return Err(ArchiveError::refused(&shown, why));
                }
                self.parent(&path)
                    .and_then(|(dir, name)| {
                        clear(&dir, &name)?;
                        symlinkat(&target, dir, name)
                    })
                    .map_err(failed("link"))
            }
            EntryType::Link => {
                let target = target(&entry, &shown)?;
                let target = self.renamed(&target)?;
                self.hard_link(&target, &path).map_err(failed("link"))
            }
            EntryType::Char | EntryType::Block => {
                return Err(ArchiveError::refused(&shown, "it is a device"));
            }
            EntryType::Fifo => return Err(ArchiveError::refused(&shown, "it is a named pipe")),
            other => {
                let why = format!("entries of type {other:?} are not known");
                return Err(ArchiveError::refused(&shown, why));
            }
        };
        done.map_err(|(what, error)| ArchiveError::at(what, &shown, error))
    }

    /// Where an entry goes, below the base.
    fn renamed(&mut self, shown: &Path) -> Result<PathBuf, ArchiveError> {
        let (here, names) = place::of_archive(shown)?;
        let Some(top) = &self.top else { return Ok(names) };
        let mut parts = names.components();
        // Archives that begin with `.` name what follows with it or without.
        let own = if here || self.first.as_ref().is_some_and(|first| first == ".") {
            OsString::from(".")
        } else {
            parts.next().map(|name| name.as_os_str().to_owned()).unwrap_or_default()
        };
        if *self.first.get_or_insert_with(|| own.clone()) != own {
            let why = "the archive has several things, and the destination is no directory";
            return Err(ArchiveError::refused(shown, why));
        }
        Ok(Path::new(top).join(parts.as_path()))
    }

    /// The directory that has, or will have, `path`, and its name there.
    fn parent(&self, path: &Path) -> Result<(OwnedFd, OsString), Errno> {
        let name = path.file_name().ok_or(Errno::ISDIR)?;
        let above = path.parent().unwrap_or(Path::new(""));
        Ok((place::make_dirs(self.base.as_fd(), above)?, name.to_owned()))
    }

    fn directory<R: Read>(&self, path: &Path, entry: &Entry<'_, R>) -> Result<(), Errno> {
        if path.as_os_str().is_empty() {
            return Ok(());
        }
        let (dir, name) = self.parent(path)?;
        // Its owner can always write what is to come.
        let mode = entry.header().mode().unwrap_or(0o755) & 0o777 | 0o700;
        match mkdirat(&dir, &name, Mode::from_raw_mode(mode)) {
            Err(Errno::EXIST) => place::open_dir(&self.base, path).map(drop),
            made => made,
        }
    }

    /// Under no name or another one first: nobody sees half of it.
    fn file<R: Read>(&self, path: &Path, entry: &mut Entry<'_, R>) -> Result<(), ArchiveError> {
        let failed = |what| move |error| ArchiveError::at(what, path, error);
        let (dir, name) = self.parent(path).map_err(failed("write"))?;
        let part = OsString::from(format!(".swarm-cp-{}", std::process::id()));
        clear(&dir, &part).map_err(failed("write"))?;
        let (file, nameless) = begin(&dir, &part).map_err(failed("write"))?;
        let written = fill(&file, entry).and_then(|()| {
            let replaced = statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW);
            if replaced.is_ok_and(|it| FileType::from_raw_mode(it.st_mode).is_dir()) {
                return Err(Filling::Writing(Errno::ISDIR));
            }
            if let Some(own) = nameless {
                linkat(CWD, own, &dir, &part, AtFlags::SYMLINK_FOLLOW).map_err(Filling::Writing)?;
            }
            renameat(&dir, &part, &dir, &name).map_err(Filling::Writing)
        });
        written.map_err(|error| {
            unlinkat(&dir, &part, AtFlags::empty()).ok();
            match error {
                Filling::Reading(error) => ArchiveError::Damaged(error),
                Filling::Writing(error) => ArchiveError::at("write", path, error),
            }
        })
    }

    fn hard_link(&self, target: &Path, path: &Path) -> Result<(), Errno> {
        let (from, old) = self.parent(target)?;
        let (dir, new) = self.parent(path)?;
        clear(&dir, &new)?;
        linkat(from, old, dir, new, AtFlags::empty())
    }
}

/// Which side of a copy failed.
enum Filling {
    Reading(io::Error),
    Writing(Errno),
}

/// A file without a name, and how the kernel calls it: nothing of it stays when this process is killed.
/// Where there are none it is called `part`.
fn begin(dir: &OwnedFd, part: &OsString) -> Result<(File, Option<String>), Errno> {
    let (flags, mode) = (OFlags::WRONLY | OFlags::CLOEXEC, Mode::from_raw_mode(0o600));
    if let Ok(file) = openat(dir, ".", flags | OFlags::TMPFILE, mode) {
        let own = format!("/proc/self/fd/{}", file.as_raw_fd());
        // Not everybody sees that directory.
        if statat(CWD, &own, AtFlags::empty()).is_ok() {
            return Ok((file.into(), Some(own)));
        }
    }
    let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    Ok((openat(dir, part, flags, mode)?.into(), None))
}

fn fill<R: Read>(mut file: &File, entry: &mut Entry<'_, R>) -> Result<(), Filling> {
    let mode = entry.header().mode().unwrap_or(0o644) & 0o777;
    let at = i64::try_from(entry.header().mtime().unwrap_or_default()).unwrap_or_default();
    let (mut part, mut left) = (vec![0; 64 << 10], entry.size());
    loop {
        let count = entry.read(&mut part).map_err(Filling::Reading)?;
        if count == 0 {
            break;
        }
        left = left.saturating_sub(count as u64);
        io::Write::write_all(&mut file, &part[..count])
            .map_err(|error| Filling::Writing(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
    }
    if left > 0 {
        return Err(Filling::Reading(io::ErrorKind::UnexpectedEof.into()));
    }
    let moment = Timespec { tv_sec: at, tv_nsec: 0 };
    let times = Timestamps { last_access: moment, last_modification: moment };
    fchmod(file, Mode::from_raw_mode(mode)).map_err(Filling::Writing)?;
    // Not every file system keeps them.
    futimens(file, &times).ok();
    Ok(())
}

/// Takes away what has the name, unless it is a directory.
fn clear(dir: &OwnedFd, name: &OsString) -> Result<(), Errno> {
    match unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What a link names.
fn target<R: Read>(entry: &Entry<'_, R>, shown: &Path) -> Result<PathBuf, ArchiveError> {
    let target = entry.link_name().map_err(ArchiveError::Damaged)?;
    let target = target.ok_or_else(|| ArchiveError::refused(shown, "it is a link to nothing"))?;
    if target.is_absolute() {
        let why = format!("it is a link to {}, an absolute path", target.display());
        return Err(ArchiveError::refused(shown, why));
    }
    Ok(target.into_owned())
}

/// Whether a link that lies `depth` directories deep leads above the first of them.
fn leaves(target: &Path, mut depth: usize) -> bool {
    for part in target.components() {
        match part {
            Component::ParentDir if depth == 0 => return true,
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    false
}
