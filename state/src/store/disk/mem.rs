//! A disk in memory that forgets like a real one: a crash loses or tears what was not synced.
//!
//! For simulations and tests. Writes that were not synced survive a crash as a random prefix of
//! what was asked, the last one cut at any byte or with single sectors missing; names that were
//! not synced survive as a random prefix of the renames, creations and removals. Seeded: the same
//! calls and seed give the same disk.

mod platter;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Disk, DiskFile};
use platter::{Inode, NameOp, Platter, eio, put};

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

impl MemDisk {
    /// An empty disk whose crashes are chosen by `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Platter { random: seed, ..Platter::default() })))
    }

    fn platter(&self) -> MutexGuard<'_, Platter> {
        self.0.lock().expect("no holder of the disk panics")
    }

    /// Cuts the power: un-synced writes and names are lost or torn, open handles die, faults end.
    pub fn crash(&self) {
        let mut platter = self.platter();
        platter.begin_life();
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
        self.platter().begin_life();
    }

    /// Lets `changes` more writes, syncs, creations, renames and removals pass. In the middle of
    /// the next one everything ends: no call succeeds any more before [`MemDisk::crash`] (a power
    /// cut) or [`MemDisk::kill`] (of the process alone).
    pub fn cut_power_at(&self, changes: u64) {
        self.platter().cut_after = Some(changes);
    }

    /// The same, counted from the next time that a file is created in `dir`.
    pub fn cut_power_in(&self, dir: &Path, changes: u64) {
        self.platter().trap = Some((dir.to_owned(), changes));
    }

    /// Whether everything has ended so.
    pub fn is_cut(&self) -> bool {
        self.platter().dead
    }

    /// Writes, syncs, creations, renames and removals since the disk was made.
    pub fn changes(&self) -> u64 {
        self.platter().changes
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

impl Disk for MemDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut platter = self.platter();
        platter.alive()?;
        platter.dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let platter = self.platter();
        platter.alive()?;
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
        let change = platter.change()?;
        let inode = platter.inodes.len();
        platter.inodes.push(Inode::default());
        if change.is_made() {
            platter.names.insert(path.to_owned(), inode);
            platter.name_ops.push(NameOp::Link(path.to_owned(), inode));
            platter.spring(path);
        }
        change.answer(self.handle(inode, platter.life))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let platter = self.platter();
        platter.alive()?;
        let inode = *platter.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(inode, platter.life))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut platter = self.platter();
        let inode = *platter.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        let change = platter.change()?;
        if change.is_made() {
            platter.names.remove(from);
            platter.names.insert(to.to_owned(), inode);
            platter.name_ops.push(NameOp::Rename(from.to_owned(), to.to_owned()));
        }
        change.answer(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut platter = self.platter();
        if !platter.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let change = platter.change()?;
        if change.is_made() {
            platter.names.remove(path);
            platter.name_ops.push(NameOp::Unlink(path.to_owned()));
        }
        change.answer(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut platter = self.platter();
        platter.syncs += 1;
        let change = platter.change()?;
        if platter.fails(FaultKind::Sync) || !change.is_made() {
            return Err(eio());
        }
        let ops = std::mem::take(&mut platter.name_ops);
        let (synced, rest): (Vec<_>, Vec<_>) = ops.into_iter().partition(|op| op.is_in(dir));
        platter.name_ops = rest;
        for op in synced {
            op.apply(&mut platter.durable_names);
        }
        change.answer(())
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
        if platter.life == self.life && !platter.dead { Ok(platter) } else { Err(eio()) }
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
        let change = platter.change()?;
        if !change.is_made() {
            return Err(eio());
        }
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
            (false, true) => change.answer(()),
            (false, false) => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        let mut platter = self.platter()?;
        platter.syncs += 1;
        let change = platter.change()?;
        if !change.is_made() {
            return Err(eio());
        }
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
        change.answer(())
    }
}
