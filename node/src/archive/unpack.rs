//! From a tar stream into a directory.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, futimens, linkat, mkdirat, statat,
    symlinkat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use tar::{Archive, Entry, EntryType};
use utoipa::ToSchema;

use super::input::Watch;
use super::part::Part;
use super::{ArchiveError, link, place};

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
/// replaced, each as a whole. Owners are not taken over, nor bits beyond the permissions or against the umask.
///
/// # Errors
/// At the first entry that is refused or cannot be written, and when the archive's end is missing.
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
    let watch = Watch::default();
    let mut archive = Archive::new(watch.over(input));
    let mut entries = archive.entries().map_err(ArchiveError::Damaged)?;
    loop {
        watch.head();
        let Some(entry) = entries.next() else { break };
        watch.contents();
        unpacker.entry(entry.map_err(ArchiveError::Damaged)?)?;
    }
    if watch.is_cut() {
        return Err(ArchiveError::Damaged(io::Error::other("its end is missing")));
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
        match kind {
            EntryType::Directory => self
                .directory(&path, &entry)
                .map_err(|error| ArchiveError::at("make", &shown, error)),
            EntryType::Regular | EntryType::Continuous => self.file(&path, &mut entry),
            EntryType::Symlink => self.symlink(&path, &link::target(&entry, &shown)?, &shown),
            EntryType::Link => {
                let target = self.renamed(&link::target(&entry, &shown)?)?;
                self.hard_link(&path, &target, &shown)
            }
            EntryType::Char | EntryType::Block => {
                Err(ArchiveError::refused(&shown, "it is a device"))
            }
            EntryType::Fifo => Err(ArchiveError::refused(&shown, "it is a named pipe")),
            other => {
                let why = format!("entries of type {other:?} are not known");
                Err(ArchiveError::refused(&shown, why))
            }
        }
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

    /// Nobody sees half of it.
    fn file<R: Read>(&self, path: &Path, entry: &mut Entry<'_, R>) -> Result<(), ArchiveError> {
        let failed = |error| ArchiveError::at("write", path, error);
        let (dir, name) = self.parent(path).map_err(failed)?;
        let part = Part::new(&dir).map_err(failed)?;
        let mode = entry.header().mode().unwrap_or(0o644) & 0o777;
        let new = part.file(Mode::from_raw_mode(mode)).map_err(failed)?;
        fill(&new.file, entry).map_err(|error| match error {
            Filling::Reading(error) => ArchiveError::Damaged(error),
            Filling::Writing(error) => failed(error),
        })?;
        part.take(&new).and_then(|()| part.replace(&name)).map_err(failed)
    }

    /// It is made under another name, so that the kernel can be asked where it leads before it counts.
    fn symlink(&self, path: &Path, target: &Path, shown: &Path) -> Result<(), ArchiveError> {
        link::check(path, target, shown)?;
        let failed = |error| ArchiveError::at("link", shown, error);
        let (dir, name) = self.parent(path).map_err(failed)?;
        let part = Part::new(&dir).map_err(failed)?;
        symlinkat(target, &dir, part.name()).map_err(failed)?;
        let made = path.with_file_name(part.name());
        // What is not there, or may not be looked at, is inside wherever it is: so the check says.
        if place::open(&self.base, &made, OFlags::PATH).is_err_and(|error| error == Errno::XDEV) {
            return Err(link::outside(shown, target));
        }
        part.replace(&name).map_err(failed)
    }

    /// To a file: a link has another meaning in another directory.
    fn hard_link(&self, path: &Path, target: &Path, shown: &Path) -> Result<(), ArchiveError> {
        let failed = |error| ArchiveError::at("link", shown, error);
        let missing = |error| ArchiveError::at("link to", target, error);
        let old = target.file_name().ok_or_else(|| missing(Errno::ISDIR))?;
        let above = target.parent().unwrap_or(Path::new(""));
        let from = place::open_dir(&self.base, above).map_err(missing)?;
        let (dir, name) = self.parent(path).map_err(failed)?;
        let part = Part::new(&dir).map_err(failed)?;
        linkat(from, old, &dir, part.name(), AtFlags::empty()).map_err(missing)?;
        let made = statat(&dir, part.name(), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        if !FileType::from_raw_mode(made.st_mode).is_file() {
            return Err(link::refused(shown, target, ", which is no file"));
        }
        part.replace(&name).map_err(failed)
    }
}

/// Which side of a copy failed.
enum Filling {
    Reading(io::Error),
    Writing(Errno),
}

fn fill<R: Read>(mut file: &File, entry: &mut Entry<'_, R>) -> Result<(), Filling> {
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
    // Not every file system keeps them.
    futimens(file, &times).ok();
    Ok(())
}
