//! A pseudo-terminal for one program. What is said on it is carried elsewhere.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Gid, Uid, fchown};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::record::Account;
use crate::chunk::Size;

/// Both ends of a terminal.
#[derive(Debug)]
pub(super) struct Terminal {
    /// The person's.
    pub(super) master: OwnedFd,
    /// The program's.
    pub(super) slave: OwnedFd,
}

/// Makes a terminal that belongs to `account`.
pub(super) fn open(size: Size, account: Option<&Account>) -> io::Result<Terminal> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let slave = ioctl_tiocgptpeer(&master, flags)?;
    if let Some(account) = account {
        // Programs open it again by its name.
        fchown(&slave, Some(Uid::from_raw(account.uid)), None::<Gid>)?;
    }
    resize(&master, size)?;
    Ok(Terminal { master, slave })
}

/// Gives it another size; the programs on it are told.
pub(super) fn resize(master: impl AsFd, Size { rows, columns }: Size) -> io::Result<()> {
    Ok(tcsetwinsize(master, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })?)
}
