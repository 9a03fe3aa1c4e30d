//! Files of a task's working directory, out or in: done by a fork of the keeper that has become the task's
//! user in the task's cgroup, and so can do no more than the task itself.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::panic;
use std::path::Path;

use rustix::io::Errno;
use rustix::stdio;

use super::descriptors;
use super::spawn::Birth;
use crate::archive::{ArchiveError, LeftOut, Transfer, enter, pack, unpack};

/// Bytes read and written at once.
const PART: usize = 64 << 10;

/// The exit code after a mistake of ours.
const PANICKED: i32 = 101;

/// Lets go of all that the keeper has open: of its way to the daemon and to the task, and of its end of this
/// very input, which would have no end as long as somebody could write to it.
///
/// # Errors
/// When the kernel has no room for one more descriptor.
pub(super) fn let_go(birth: Birth) -> Result<(), Errno> {
    let Birth { stdin, stdout, stderr, beside, terminal: _, copy: _ } = birth;
    drop(beside);
    descriptors::keep_stdio(stdin, stdout, stderr)
}

/// Copies between standard input and output, and says on its error output what could not be; gives the exit
/// code.
pub(super) fn run(transfer: &Transfer) -> i32 {
    // Above are the keeper's own frames, and nothing in them is this process's.
    panic::catch_unwind(|| tell(carry(transfer))).unwrap_or(PANICKED)
}

fn tell(carried: Result<LeftOut, ArchiveError>) -> i32 {
    let mut errors = io::stderr();
    // Nobody listens: then nobody misses it.
    match carried {
        Ok(left_out) => {
            left_out.sentences().for_each(|it| writeln!(errors, "{it}").unwrap_or_default());
            0
        }
        Err(error) => {
            writeln!(errors, "{error}").ok();
            1
        }
    }
}

/// The working directory is what can be reached.
fn carry(transfer: &Transfer) -> Result<LeftOut, ArchiveError> {
    let here = enter(Path::new("."))?;
    match transfer {
        Transfer::Pack { path } => {
            let output = file(stdio::stdout()).map_err(ArchiveError::Unread)?;
            pack(here, path, BufWriter::with_capacity(PART, output))
        }
        Transfer::Unpack { path, naming } => {
            let input = file(stdio::stdin()).map_err(ArchiveError::Damaged)?;
            let input = BufReader::with_capacity(PART, input);
            unpack(here, path, *naming, input).map(|()| LeftOut::default())
        }
    }
}

fn file(line: BorrowedFd<'_>) -> io::Result<File> {
    Ok(line.as_fd().try_clone_to_owned()?.into())
}
