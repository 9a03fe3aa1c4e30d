//! A disk in memory that forgets like a real one: a crash loses or tears what was not synced.
//!
//! For simulations and tests. Writes that were not synced survive a crash as a random prefix of
//! what was asked, the last one cut at any byte or with single sectors missing; names that were
//! not synced survive as a random prefix of the renames, creations and removals. Seeded: the same
//! calls and seed give the same disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Disk, DiskFile};

const SECTOR: usize = 512;
const EIO: i32 = 5;

/// The operation that a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// A write fails with EIO, after part of it was done.
    Write,
    /// A file or folder sync fails with EIO, and what it should have synced is lost.
    Sync,
    /// A read fails with EIO.
    Read,
}

/// One injected failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What fails.
    pub kind: FaultKind,
    /// How many operations of that kind still succeed before it.
    pub after: u32,
}

/// The disk; a clone is the same disk.
#[derive(Debug, Clone)]
pub struct MemDisk(Arc<Mutex<Platter>>);

#[derive(Debug)]
struct Platter {
    random: u64,
    /// Counts crashes: handles of an earlier life are dead.
    life: u64,
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    name_ops: Vec<NameOp>,
    dirs: BTreeSet<PathBuf>,
    faults: Vec<Fault>,
    free: Option<u64>,
    writes: u64,
    syncs: u64,
}

#[derive(Debug, Default, Clone)]
struct Inode {
    now: Vec<u8>,
    synced: Vec<u8>,
    pending: Vec<(usize, Vec<u8>)>,
}

#[derive(Debug)]
enum NameOp {
    Link(PathBuf, usize),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl NameOp {
    fn is_in(&self, dir: &Path) -> bool {
        let (Self::Link(path, _) | Self::Unlink(path) | Self::Rename(path, _)) = self;
        path.parent() == Some(dir)
    }

    fn apply(self, names: &mut BTreeMap<PathBuf, usize>) {
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

fn put(into: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if into.len() < end {
        into.resize(end, 0);
    }
    into[offset..end].copy_from_slice(bytes);
}

impl Platter {
    /// splitmix64 (Steele, Lea, Flood 2014): enough to choose what a crash keeps.
    fn draw(&mut self, below: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bound = u64::try_from(below.max(1)).expect("usize fits u64");
        usize::try_from((z ^ (z >> 31)) % bound).expect("below a usize")
    }

    fn fails(&mut self, kind: FaultKind) -> bool {
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

    /// What of an inode a crash leaves.
    fn survive(&mut self, inode: usize) {
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
    fn tear(&mut self, kept: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
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

impl MemDisk {
    /// An empty disk whose crashes are chosen by `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Platter {
            random: seed,
            life: 0,
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_ops: Vec::new(),
            dirs: BTreeSet::new(),
            faults: Vec::new(),
            free: None,
            writes: 0,
            syncs: 0,
        })))
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().expect("no holder of the disk panics")
    }

    /// Cuts the power: un-synced writes and names are lost or torn, open handles die, faults end.
    pub fn crash(&self) {
        let mut platter = self.platter();
        platter.life += 1;
        platter.faults.clear();
        for inode in 0..platter.inodes.len() {
            platter.survive(inode);
        }
        let ops = std::mem::take(&mut platter.name_ops);
        let kept = platter.draw(ops.len() + 1);
        let mut names = std::mem::take(&mut platter.durable_names);
        for op in ops.into_iter().take(kept) {
            op.apply(&mut names);
        }
        platter.names.clone_from(&names);
        platter.durable_names = names;
    }

    /// Kills the process but not the machine: handles die, every write stays.
    pub fn kill(&self) {
        let mut platter = self.platter();
        platter.life += 1;
        platter.faults.clear();
    }

    /// Makes a later operation fail.
    pub fn inject(&self, fault: Fault) {
        self.platter().faults.push(fault);
    }

    /// Takes back every failure that was asked for and has not happened.
    pub fn forgive(&self) {
        self.platter().faults.clear();
    }

    /// Lets files grow by `bytes` more in all; `None` for no limit.
    pub fn set_free(&self, bytes: Option<u64>) {
        self.platter().free = bytes;
    }

    /// Flips `mask`'s bits of one byte, durably. Returns whether the byte exists.
    pub fn flip(&self, path: &Path, offset: usize, mask: u8) -> bool {
        let mut platter = self.platter();
        let Some(&inode) = platter.names.get(path) else { return false };
        let inode = &mut platter.inodes[inode];
        let Some(byte) = inode.now.get_mut(offset) else { return false };
        *byte ^= mask;
        if let Some(byte) = inode.synced.get_mut(offset) {
            *byte ^= mask;
        }
        true
    }

    /// Every file and its length.
    pub fn files(&self) -> Vec<(PathBuf, usize)> {
        let platter = self.platter();
        let file =
            |(path, inode): (&PathBuf, &usize)| (path.clone(), platter.inodes[*inode].now.len());
        platter.names.iter().map(file).collect()
    }

    /// An independent copy of the disk as it reads now, all durable.
    pub fn copy(&self, seed: u64) -> Self {
        let copy = Self::new(seed);
        {
            let (from, mut to) = (self.platter(), copy.platter());
            to.dirs.clone_from(&from.dirs);
            for (path, &inode) in &from.names {
                let now = from.inodes[inode].now.clone();
                let inode = to.inodes.len();
                to.inodes.push(Inode { synced: now.clone(), now, pending: Vec::new() });
                to.names.insert(path.clone(), inode);
            }
            let names = to.names.clone();
            to.durable_names = names;
        }
        copy
    }

    /// Bytes written and syncs done since the disk was made.
    pub fn traffic(&self) -> (u64, u64) {
        let platter = self.platter();
        (platter.writes, platter.syncs)
    }

    fn handle(&self, inode: usize, life: u64) -> Arc<dyn DiskFile> {
        Arc::new(MemFile { disk: self.clone(), inode, life })
    }
}

fn eio() -> io::Error {
    io::Error::from_raw_os_error(EIO)
}

impl Disk for MemDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.platter().dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let platter = self.platter();
        let inside = platter.names.keys().filter(|path| path.parent() == Some(dir));
        let name =
            |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(inside.filter_map(name).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut platter = self.platter();
        if !path.parent().is_some_and(|dir| platter.dirs.contains(dir)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if platter.free == Some(0) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let inode = platter.inodes.len();
        platter.inodes.push(Inode::default());
        platter.names.insert(path.to_owned(), inode);
        platter.name_ops.push(NameOp::Link(path.to_owned(), inode));
        Ok(self.handle(inode, platter.life))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let platter = self.platter();
        let inode = *platter.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(inode, platter.life))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut platter = self.platter();
        let inode = platter.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        platter.names.insert(to.to_owned(), inode);
        platter.name_ops.push(NameOp::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut platter = self.platter();
        platter.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        platter.name_ops.push(NameOp::Unlink(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut platter = self.platter();
        platter.syncs += 1;
        if platter.fails(FaultKind::Sync) {
            return Err(eio());
        }
        let ops = std::mem::take(&mut platter.name_ops);
        let (synced, rest): (Vec<_>, Vec<_>) = ops.into_iter().partition(|op| op.is_in(dir));
        platter.name_ops = rest;
        for op in synced {
            op.apply(&mut platter.durable_names);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct MemFile {
    disk: MemDisk,
    inode: usize,
    life: u64,
}

impl MemFile {
    fn platter(&self) -> io::Result<MutexGuard<'_, Platter>> {
        let platter = self.disk.platter();
        if platter.life == self.life { Ok(platter) } else { Err(eio()) }
    }
}

impl DiskFile for MemFile {
    fn size(&self) -> io::Result<u64> {
        u64::try_from(self.platter()?.inodes[self.inode].now.len()).map_err(io::Error::other)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let mut platter = self.platter()?;
        if platter.fails(FaultKind::Read) {
            return Err(eio());
        }
        let now = &platter.inodes[self.inode].now;
        let from = usize::try_from(offset).map_err(io::Error::other)?.min(now.len());
        let read = buf.len().min(now.len() - from);
        buf[..read].copy_from_slice(&now[from..from + read]);
        Ok(read)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut platter = self.platter()?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let growth = (offset + bytes.len()).saturating_sub(platter.inodes[self.inode].now.len());
        let room = platter
            .free
            .map_or(growth, |free| growth.min(usize::try_from(free).unwrap_or(usize::MAX)));
        let broken = platter.fails(FaultKind::Write);
        let done = if broken { bytes.len() / 2 } else { bytes.len().saturating_sub(growth - room) };
        if let Some(free) = &mut platter.free {
            *free -= u64::try_from(room).map_err(io::Error::other)?;
        }
        platter.writes += u64::try_from(done).map_err(io::Error::other)?;
        let inode = &mut platter.inodes[self.inode];
        put(&mut inode.now, offset, &bytes[..done]);
        inode.pending.push((offset, bytes[..done].to_vec()));
        match (broken, done == bytes.len()) {
            (true, _) => Err(eio()),
            (false, true) => Ok(()),
            (false, false) => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let mut platter = self.platter()?;
        platter.syncs += 1;
        let failed = platter.fails(FaultKind::Sync);
        let inode = &mut platter.inodes[self.inode];
        let pending = std::mem::take(&mut inode.pending);
        if failed {
            // Linux marks the pages clean: still readable, never written, and no second error.
            return Err(eio());
        }
        for (offset, bytes) in pending {
            put(&mut inode.synced, offset, &bytes);
        }
        Ok(())
    }
}
