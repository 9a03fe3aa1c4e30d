//! Something new that has another name until it is whole: what has the name that it gets stays until then,
//! and stays for good when nothing becomes of it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

/// A name in a directory. What has it goes with this value.
#[derive(Debug)]
pub(super) struct Part<'a> {
    dir: &'a OwnedFd,
    name: OsString,
}

impl<'a> Part<'a> {
    /// Nothing has the name yet.
    pub(super) fn new(dir: &'a OwnedFd) -> Result<Self, Errno> {
        let name = OsString::from(format!(".swarm-cp-{}", std::process::id()));
        let part = Self { dir, name };
        // Of a copy that was killed.
        match unlinkat(dir, &part.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(part),
            Err(error) => Err(error),
        }
    }

    /// The name.
    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    /// A file to be written, with what the umask leaves of `mode`. Where the file system can it has no name at
    /// all, so that nothing of it stays when this process is killed.
    pub(super) fn file(&self, mode: Mode) -> Result<NewFile, Errno> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        if let Ok(file) = openat(self.dir, ".", flags | OFlags::TMPFILE, mode) {
            let own = format!("/proc/self/fd/{}", file.as_raw_fd());
            // Not everybody sees that directory.
            if statat(CWD, &own, AtFlags::empty()).is_ok() {
                return Ok(NewFile { file: file.into(), nameless: Some(own) });
            }
        }
        let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        Ok(NewFile { file: openat(self.dir, &self.name, flags, mode)?.into(), nameless: None })
    }

    /// Gives a file that has no name this one.
    pub(super) fn take(&self, new: &NewFile) -> Result<(), Errno> {
        match &new.nameless {
            Some(own) => linkat(CWD, own, self.dir, &self.name, AtFlags::SYMLINK_FOLLOW),
            None => Ok(()),
        }
    }

    /// What has this name has that one from now on.
    pub(super) fn replace(self, name: &OsStr) -> Result<(), Errno> {
        renameat(self.dir, &self.name, self.dir, name)
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        // Also after a rename: of two names of one file it leaves both.
        unlinkat(self.dir, &self.name, AtFlags::empty()).ok();
    }
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct NewFile {
    /// What to write to.
    pub(super) file: File,
    /// How the kernel calls it when it has no name.
    nameless: Option<String>,
}
