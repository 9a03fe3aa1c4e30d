//! Opens what lies below a directory, and nothing else.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat2};
use rustix::io::Errno;

use super::ArchiveError;

/// How often the kernel is asked again when a path was renamed while it walked it.
const TRIES: u32 = 100;
/// Modes of directories that an archive does not mention.
const DIR_MODE: u32 = 0o755;

/// Opens `path` below `root`, following only links that stay there; an empty one is `root` itself.
pub(super) fn open(root: impl AsFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let mut last = Errno::AGAIN;
    for _try in 0..TRIES {
        match openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), inside) {
            Err(Errno::AGAIN | Errno::INTR) => last = Errno::AGAIN,
            opened => return opened,
        }
    }
    Err(last)
}

/// Opens a directory that is to be a root, only to reach what is in it: it need not be readable.
///
/// # Errors
/// When it is not there, or no directory.
pub fn enter(path: &Path) -> Result<OwnedFd, ArchiveError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
        .map_err(|error| ArchiveError::at("enter", path, error))
}

/// Opens a directory below `root`, only to name what is in it.
pub(super) fn open_dir(root: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    open(root, path, OFlags::PATH | OFlags::DIRECTORY)
}

/// The same; what is missing of it is made.
pub(super) fn make_dirs(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    match open_dir(root, path) {
        Err(Errno::NOENT) => {}
        opened => return opened,
    }
    let parent = make_dirs(root, path.parent().ok_or(Errno::NOENT)?)?;
    let name = path.file_name().ok_or(Errno::NOENT)?;
    match mkdirat(&parent, name, Mode::from_raw_mode(DIR_MODE)) {
        Ok(()) | Err(Errno::EXIST) => open_dir(root, path),
        Err(error) => Err(error),
    }
}

/// A path that a person wrote: `/` is the directory itself, so a leading one says nothing.
pub(super) fn of_person(path: &str) -> Result<PathBuf, ArchiveError> {
    let mut inside = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(name) => inside.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(ArchiveError::Outside { path: path.to_owned() });
            }
        }
    }
    Ok(inside)
}

/// A path that an archive has: whether it begins with `.`, and its names.
pub(super) fn of_archive(path: &Path) -> Result<(bool, PathBuf), ArchiveError> {
    let (mut here, mut names) = (false, PathBuf::new());
    for part in path.components() {
        match part {
            Component::Normal(name) => names.push(name),
            Component::CurDir => here = true,
            Component::RootDir | Component::Prefix(_) => {
                return Err(ArchiveError::refused(path, "its path is absolute"));
            }
            Component::ParentDir => {
                return Err(ArchiveError::refused(path, "its path has \"..\" in it"));
            }
        }
    }
    Ok((here, names))
}
