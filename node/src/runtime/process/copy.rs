//! Files of a task's working directory, out or in: done by a fork of the keeper that has become the task's
//! user in the task's cgroup, and so can do no more than the task itself.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};

use super::spawn::Birth;
use crate::archive::{ArchiveError, Transfer, pack, unpack};

/// Bytes read and written at once.
const PART: usize = 64 << 10;

/// Copies, and says on its error output what could not be; gives the exit code.
pub(super) fn run(transfer: &Transfer, birth: Birth) -> i32 {
    let Birth { stdin, stdout, stderr, .. } = birth;
    let mut errors = File::from(stderr);
    let said = match carry(transfer, stdin, stdout) {
        Ok(sockets) => {
            for socket in sockets {
                // Nobody listens: then nobody misses it.
                writeln!(errors, "{} is a socket and was left out", socket.display()).ok();
            }
            return 0;
        }
        Err(error) => writeln!(errors, "{error}"),
    };
    said.ok();
    1
}

/// The working directory is what can be reached.
fn carry(
    transfer: &Transfer,
    stdin: Option<OwnedFd>,
    stdout: OwnedFd,
) -> Result<Vec<PathBuf>, ArchiveError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let here = open(".", flags, Mode::empty());
    let here = here.map_err(|error| ArchiveError::at("enter", Path::new("."), error))?;
    match (transfer, stdin) {
        (Transfer::Pack { path }, _) => {
            pack(here, path, BufWriter::with_capacity(PART, File::from(stdout)))
        }
        (Transfer::Unpack { path, naming }, Some(stdin)) => {
            let input = BufReader::with_capacity(PART, File::from(stdin));
            unpack(here, path, *naming, input).map(|()| Vec::new())
        }
        (Transfer::Unpack { .. }, None) => {
            Err(ArchiveError::Damaged(std::io::ErrorKind::UnexpectedEof.into()))
        }
    }
}
