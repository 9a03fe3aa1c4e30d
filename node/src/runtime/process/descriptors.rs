//! Descriptors of forks that execute no program: what would be closed on execution is closed by hand.

use std::os::fd::{IntoRawFd as _, OwnedFd};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// More than supervisors and keepers have: all below is closed where the kernel cannot close a range.
const MANY: libc::c_uint = 1024;

/// Keeps `kept` alone, as standard input.
pub(super) fn keep_input(kept: OwnedFd) {
    dup2_stdin(&kept).ok();
    let _closed_below = kept.into_raw_fd();
    close_from(1);
}

/// Keeps these three alone, as standard input, output and errors. Without an input it is at its end.
///
/// # Errors
/// When the kernel has no room for one more descriptor; nothing is closed then.
pub(super) fn keep_stdio(
    stdin: Option<OwnedFd>,
    stdout: OwnedFd,
    stderr: OwnedFd,
) -> rustix::io::Result<()> {
    let stdin = match stdin {
        Some(stdin) => stdin,
        None => pipe_with(PipeFlags::CLOEXEC)?.0,
    };
    dup2_stdin(&stdin)?;
    dup2_stdout(&stdout)?;
    dup2_stderr(&stderr)?;
    let _closed_below = [stdin, stdout, stderr].map(OwnedFd::into_raw_fd);
    close_from(3);
    Ok(())
}

#[expect(unsafe_code, reason = "descriptors of others are closed by their numbers")]
fn close_from(first: libc::c_uint) {
    // SAFETY: the calling fork never returns to code that owns any of them: it ends by `leave`.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
    if closed != 0 {
        // Before Linux 5.9, and in sandboxes that do not know the call.
        for fd in first..MANY {
            // SAFETY: as above.
            unsafe { libc::close(fd.cast_signed()) };
        }
    }
}
