//! From a directory into a tar stream.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use tar::{Builder, EntryType, Header};

use super::error::plain;
use super::{ArchiveError, LeftOut, place};

/// Directories within directories: each costs an open file.
const DEPTH_MAX: usize = 200;

/// Writes `path`, which lies below `root`, as a tar stream to `out`; its names begin with the path's last
/// one, or with `.` when the path ends with `/.` or is `root` itself.
///
/// # Errors
/// At the first file that cannot be read, or is none.
pub fn pack(root: impl AsFd, path: &str, out: impl Write) -> Result<LeftOut, ArchiveError> {
    let inside = place::of_person(path)?;
    let contents = path.ends_with("/.") || path == ".";
    let name = match inside.file_name() {
        Some(name) if !contents => PathBuf::from(name),
        Some(_) | None => PathBuf::from("."),
    };
    pack_as(root, &inside, &name, out)
}

/// The same under names that begin with `name`, whatever the path's last one is.
///
/// # Errors
/// At the first file that cannot be read, or is none.
pub fn pack_as(
    root: impl AsFd,
    path: &Path,
    name: &Path,
    out: impl Write,
) -> Result<LeftOut, ArchiveError> {
    let shown = if path.as_os_str().is_empty() { name } else { path };
    let failed = |error| ArchiveError::at("open", shown, error);
    let looked = place::open(&root, path, OFlags::PATH).map_err(failed)?;
    let stat = fstat(&looked).map_err(failed)?;
    let mut packer = Packer { builder: Builder::new(out), left_out: LeftOut::default() };
    let kind = FileType::from_raw_mode(stat.st_mode);
    let flags = match kind {
        FileType::RegularFile => OFlags::RDONLY | OFlags::NONBLOCK,
        FileType::Directory => OFlags::RDONLY | OFlags::DIRECTORY,
        other => return Err(ArchiveError::refused(shown, word(other))),
    };
    let opened = place::open(&root, path, flags).map_err(failed)?;
    packer.opened(opened, name, 0)?;
    packer.builder.into_inner().and_then(|mut out| out.flush()).map_err(ArchiveError::Unread)?;
    Ok(packer.left_out)
}

struct Packer<W: Write> {
    builder: Builder<W>,
    left_out: LeftOut,
}

impl<W: Write> Packer<W> {
    /// A file or a directory.
    fn opened(&mut self, file: OwnedFd, name: &Path, depth: usize) -> Result<(), ArchiveError> {
        let stat = fstat(&file).map_err(|error| ArchiveError::at("look at", name, error))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => self.file(file, name, &stat),
            FileType::Directory => self.directory(&file, name, &stat, depth),
            // Another one than was looked at a moment before.
            other => Err(ArchiveError::refused(name, word(other))),
        }
    }

    fn file(&mut self, file: OwnedFd, name: &Path, stat: &Stat) -> Result<(), ArchiveError> {
        let size = u64::try_from(stat.st_size).unwrap_or_default();
        let mut header = header(stat, EntryType::Regular, size);
        let mut exactly = Exactly { file: File::from(file), left: size, lost: None };
        let added = self.builder.append_data(&mut header, name, &mut exactly);
        match (exactly.lost, added) {
            (Some(source), _) => Err(ArchiveError::Io { what: "read", path: plain(name), source }),
            (None, added) => added.map_err(ArchiveError::Unread),
        }
    }

    fn directory(
        &mut self,
        dir: &OwnedFd,
        name: &Path,
        stat: &Stat,
        depth: usize,
    ) -> Result<(), ArchiveError> {
        if depth > DEPTH_MAX {
            let why = format!("more than {DEPTH_MAX} directories within each other");
            return Err(ArchiveError::refused(name, why));
        }
        let mut header = header(stat, EntryType::Directory, 0);
        self.builder.append_data(&mut header, name, io::empty()).map_err(ArchiveError::Unread)?;
        let failed = |error| ArchiveError::at("list", name, error);
        let mut names = Vec::new();
        for entry in Dir::read_from(dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let bytes = entry.file_name().to_bytes();
            if bytes != b"." && bytes != b".." {
                names.push(OsStr::from_bytes(bytes).to_owned());
            }
        }
        names.sort();
        for inner in names {
            self.entry(dir.as_fd(), &inner, &name.join(&inner), depth)?;
        }
        Ok(())
    }

    /// What a directory has under `inner`; links are taken as such.
    fn entry(
        &mut self,
        dir: BorrowedFd<'_>,
        inner: &OsStr,
        name: &Path,
        depth: usize,
    ) -> Result<(), ArchiveError> {
        let failed = |error| ArchiveError::at("open", name, error);
        let stat = statat(dir, inner, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile | FileType::Directory => {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let opened = openat(dir, inner, flags, Mode::empty()).map_err(failed)?;
                self.opened(opened, name, depth + 1)
            }
            FileType::Symlink => {
                let target = readlinkat(dir, inner, Vec::new()).map_err(failed)?;
                let mut header = header(&stat, EntryType::Symlink, 0);
                let target = Path::new(OsStr::from_bytes(target.to_bytes()));
                self.builder.append_link(&mut header, name, target).map_err(ArchiveError::Unread)
            }
            FileType::Socket => {
                self.left_out.add(name);
                Ok(())
            }
            other => Err(ArchiveError::refused(name, word(other))),
        }
    }
}

fn header(stat: &Stat, kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(stat.st_mode & 0o777);
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or_default());
    header.set_uid(stat.st_uid.into());
    header.set_gid(stat.st_gid.into());
    header.set_size(size);
    header
}

/// What is no file.
fn word(kind: FileType) -> &'static str {
    match kind {
        FileType::CharacterDevice | FileType::BlockDevice => "it is a device",
        FileType::Fifo => "it is a named pipe",
        FileType::Socket => "it is a socket",
        _ => "it is neither file nor directory",
    }
}

/// A file as long as its header says, whatever is done to it meanwhile.
struct Exactly {
    file: File,
    left: u64,
    lost: Option<io::Error>,
}

impl Read for Exactly {
    fn read(&mut self, part: &mut [u8]) -> io::Result<usize> {
        let want = part.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let read = match self.file.read(&mut part[..want]) {
            Ok(0) => Err(io::Error::other("it became shorter while it was read")),
            read => read,
        };
        match read {
            Ok(count) => {
                self.left -= count as u64;
                Ok(count)
            }
            Err(error) => {
                let kind = error.kind();
                self.lost = Some(error);
                Err(kind.into())
            }
        }
    }
}
