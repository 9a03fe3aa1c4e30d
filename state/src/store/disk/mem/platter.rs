//! What a simulated disk holds and remembers, and what a crash or an injected failure makes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::{Fault, FaultKind};

const SECTOR: usize = 512;
const EIO: i32 = 5;

/// The state behind all handles of one disk.
#[derive(Debug, Default)]
pub(super) struct Platter {
    pub(super) random: u64,
    /// Counts crashes: handles of an earlier life are dead.
    pub(super) life: u64,
    pub(super) inodes: Vec<Inode>,
    pub(super) names: BTreeMap<PathBuf, usize>,
    pub(super) durable_names: BTreeMap<PathBuf, usize>,
    pub(super) name_ops: Vec<NameOp>,
    pub(super) dirs: BTreeSet<PathBuf>,
    pub(super) faults: Vec<Fault>,
    /// Changes until the power goes.
    pub(super) cut_after: Option<u64>,
    /// Once a file is created in this folder, the power goes after so many changes.
    pub(super) trap: Option<(PathBuf, u64)>,
    /// The power is gone: nothing answers before `crash` or `kill`.
    pub(super) dead: bool,
    pub(super) changes: u64,
    pub(super) free: Option<u64>,
    pub(super) writes: u64,
    pub(super) syncs: u64,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Inode {
    pub(super) now: Vec<u8>,
    pub(super) synced: Vec<u8>,
    pub(super) pending: Vec<(usize, Vec<u8>)>,
}

#[derive(Debug)]
pub(super) enum NameOp {
    Link(PathBuf, usize),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl NameOp {
    pub(super) fn is_in(&self, dir: &Path) -> bool {
        let (Self::Link(path, _) | Self::Unlink(path) | Self::Rename(path, _)) = self;
        path.parent() == Some(dir)
    }

    pub(super) fn apply(self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Link(path, inode) => {
                names.insert(path, inode);
            }
            Self::Unlink(path) => {
                names.remove(&path);
            }
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(&from) {
                    names.insert(to, inode);
                }
            }
        }
    }
}

/// What becomes of one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Done,
    /// The power goes before it.
    Lost,
    /// The power goes after it and before its answer.
    Unanswered,
}

impl Change {
    pub(super) fn is_made(self) -> bool {
        self != Self::Lost
    }

    pub(super) fn answer<T>(self, value: T) -> io::Result<T> {
        if self == Self::Done { Ok(value) } else { Err(eio()) }
    }
}

pub(super) fn put(into: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if into.len() < end {
        into.resize(end, 0);
    }
    into[offset..end].copy_from_slice(bytes);
}

impl Platter {
    /// splitmix64 (Steele, Lea, Flood 2014): enough to choose what a crash keeps.
    pub(super) fn draw(&mut self, below: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bound = u64::try_from(below.max(1)).expect("usize fits u64");
        usize::try_from((z ^ (z >> 31)) % bound).expect("below a usize")
    }

    pub(super) fn fails(&mut self, kind: FaultKind) -> bool {
        let Some(at) = self.faults.iter().position(|fault| fault.kind == kind) else {
            return false;
        };
        if self.faults[at].after == 0 {
            self.faults.remove(at);
            return true;
        }
        self.faults[at].after -= 1;
        false
    }

    /// Counts a change; to be called first by everything that changes the disk.
    pub(super) fn change(&mut self) -> io::Result<Change> {
        self.alive()?;
        self.changes += 1;
        match &mut self.cut_after {
            Some(0) => {
                self.dead = true;
                Ok(if self.draw(2) == 0 { Change::Lost } else { Change::Unanswered })
            }
            Some(left) => {
                *left -= 1;
                Ok(Change::Done)
            }
            None => Ok(Change::Done),
        }
    }

    /// A file was created: see [`Platter::trap`].
    pub(super) fn spring(&mut self, path: &Path) {
        let sprung = self.trap.take_if(|(dir, _changes)| path.parent() == Some(dir));
        if let Some((_dir, changes)) = sprung {
            self.cut_after = Some(changes);
        }
    }

    pub(super) fn alive(&self) -> io::Result<()> {
        if self.dead { Err(eio()) } else { Ok(()) }
    }

    pub(super) fn begin_life(&mut self) {
        self.life += 1;
        self.faults.clear();
        (self.cut_after, self.trap, self.dead) = (None, None, false);
    }

    /// What of an inode a crash leaves.
    pub(super) fn survive(&mut self, inode: usize) {
        let mut kept = std::mem::take(&mut self.inodes[inode].synced);
        let pending = std::mem::take(&mut self.inodes[inode].pending);
        let whole = self.draw(pending.len() + 1);
        for (at, (offset, bytes)) in pending.into_iter().enumerate() {
            if at < whole {
                put(&mut kept, offset, &bytes);
            } else if at == whole {
                self.tear(&mut kept, offset, &bytes);
            }
        }
        let inode = &mut self.inodes[inode];
        inode.now.clone_from(&kept);
        inode.synced = kept;
    }

    /// Half-done: a prefix that ends at any byte, or all but some sectors.
    pub(super) fn tear(&mut self, kept: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
        if self.draw(2) == 0 {
            let length = self.draw(bytes.len() + 1);
            put(kept, offset, &bytes[..length]);
            return;
        }
        let mut at = 0;
        while at < bytes.len() {
            let end = bytes.len().min(at + SECTOR - (offset + at) % SECTOR);
            if self.draw(2) == 0 {
                put(kept, offset + at, &bytes[at..end]);
            }
            at = end;
        }
    }
}

pub(super) fn eio() -> io::Error {
    io::Error::from_raw_os_error(EIO)
}
