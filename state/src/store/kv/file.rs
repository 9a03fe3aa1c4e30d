//! The journal's current file: found after a restart, written anew, appended to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch;
use crate::store::disk::{Disk, DiskFile};
use crate::store::record::{self, HEADER, Header};
use crate::store::segment::{self, End, Found, write_zeroed};
use crate::store::{DiskFault, Error, Table};

/// Room that is zeroed ahead.
const STEP: u64 = 16 << 10;

/// A journal as it was found.
#[derive(Debug)]
pub(super) struct FoundJournal {
    pub(super) path: PathBuf,
    pub(super) epoch: u64,
    pub(super) payloads: Vec<Vec<u8>>,
    /// `None`: it ends in an unfinished write and must be written anew.
    pub(super) journal: Option<Journal>,
    bytes: Vec<u8>,
}

impl FoundJournal {
    /// Hands it out to be appended to, all of it durable; `None` if it must be written anew.
    ///
    /// After a failed sync and a new start the kernel reads back bytes that it will never write: so
    /// they are written again.
    pub(super) fn secure(self, disk: &dyn Disk, dir: &Path) -> Result<Option<Journal>, Error> {
        let Some(journal) = self.journal else { return Ok(None) };
        journal.file.write_at(0, &self.bytes).map_err(Error::io("write", &self.path))?;
        journal.file.sync().map_err(Error::io("sync", &self.path))?;
        disk.sync_dir(dir).map_err(Error::io("sync", dir))?;
        Ok(Some(journal))
    }
}

/// Reads the newest journal in `dir` and changes nothing but unfinished files, which are removed.
pub(super) fn read(
    disk: &dyn Disk,
    dir: &Path,
    table: Table,
) -> Result<Option<FoundJournal>, Error> {
    for name in disk.list(dir).map_err(Error::io("list", dir))? {
        if name.ends_with(".tmp") {
            let path = dir.join(name);
            disk.remove(&path).map_err(Error::io("remove", &path))?;
        }
    }
    let mut epochs = segment::epochs(disk, dir, table)?;
    let Some(newest) = epochs.pop() else { return Ok(None) };
    let found = Found::read(disk, dir, table, newest)?;
    // A file gets its name after its sync, so a header that is missing was lost later.
    let header = found
        .header
        .ok_or_else(|| Error::damaged(table, &found.path, 0, "the header is missing"))?;
    let mut payloads = Vec::new();
    let walk = found.walk(&header, u64::MAX, |_, payload| payloads.push(payload.to_vec()));
    let offset = u64::try_from(walk.offset).expect("usize fits u64");
    if let End::Damaged(what) = walk.end {
        return Err(Error::damaged(table, &found.path, offset, what));
    }
    if found.evidence(walk.offset) > walk.next {
        return Err(Error::damaged(
            table,
            &found.path,
            offset,
            "batches that were synced are missing",
        ));
    }
    let clean = walk.end == End::Clean;
    if let End::Torn(what) = walk.end {
        tracing::warn!(path = %found.path.display(), offset, what, "un-synced batch dropped");
    }
    let zeroed = u64::try_from(found.bytes.len()).expect("usize fits u64");
    let mut bytes = found.bytes;
    bytes.truncate(walk.offset);
    let journal = Journal {
        path: found.path.clone(),
        file: found.file,
        epoch: newest,
        offset,
        zeroed,
        next: walk.next,
        prev: walk.prev,
        durable_end: walk.next,
        batches_end: walk.next,
        dirty_tail: false,
    };
    let journal = clean.then_some(journal);
    Ok(Some(FoundJournal { path: found.path, epoch: newest, payloads, journal, bytes }))
}

/// The file that batches are appended to.
#[derive(Debug)]
pub(super) struct Journal {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) epoch: u64,
    pub(super) offset: u64,
    zeroed: u64,
    pub(super) next: u64,
    prev: u32,
    /// Records below are durable.
    durable_end: u64,
    /// The index after the last batch; later records are marks.
    batches_end: u64,
    /// A write failed half-way: its bytes must not come to stand behind later ones.
    dirty_tail: bool,
}

impl Journal {
    /// Writes the whole map to a new file and makes it the current one, durably.
    pub(super) fn write(
        disk: &dyn Disk,
        (dir, table): (&Path, Table),
        epoch: u64,
        map: &BTreeMap<Vec<u8>, Vec<u8>>,
        fault: &DiskFault,
    ) -> Result<Self, Error> {
        let parts = batch::image(map);
        let count = u64::try_from(parts.len()).expect("usize fits u64");
        let header =
            Header { magic: segment::magic(table), epoch, first: 0, durable_end: count, prev: 0 };
        let mut bytes = header.encode().to_vec();
        let (mut next, mut prev) = (0, 0);
        for part in &parts {
            prev = record::encode(&mut bytes, epoch, (next, 0), (next, prev), part);
            next += 1;
        }
        let offset = u64::try_from(bytes.len()).expect("usize fits u64");
        let path = dir.join(segment::name(epoch));
        let made = dir.join("new.tmp");
        let file = disk.create(&made).map_err(Error::io("create", &made))?;
        let zeroed = match write_zeroed(&*file, 0, bytes, 0, STEP) {
            Ok(zeroed) => zeroed,
            Err(error) => {
                // What it took of a full disk is needed elsewhere.
                drop(disk.remove(&made));
                return Err(Error::io("write", &made)(error));
            }
        };
        fault.watch(&made, file.sync())?;
        disk.rename(&made, &path).map_err(Error::io("rename", &made))?;
        fault.watch(dir, disk.sync_dir(dir))?;
        let (durable_end, batches_end) = (next, next);
        let dirty_tail = false;
        Ok(Self {
            path,
            file,
            epoch,
            offset,
            zeroed,
            next,
            prev,
            durable_end,
            batches_end,
            dirty_tail,
        })
    }

    /// Whether an earlier write failed half-way.
    pub(super) fn needs_rewrite(&self) -> bool {
        self.dirty_tail
    }

    /// Whether every batch is durable.
    pub(super) fn is_durable(&self) -> bool {
        self.durable_end >= self.batches_end
    }

    /// Notes that the records below `end` are durable, and says so in the file if nothing else is
    /// about to: without the mark, damage to the last batch could pass for an unfinished write.
    ///
    /// The mark itself needs no sync. It is lost only together with the machine's power, and
    /// never true too early.
    pub(super) fn synced(&mut self, end: u64) {
        self.durable_end = end;
        let room = self.offset + u64::try_from(record::OVERHEAD).expect("a small constant");
        // It must not make the file longer: that would cost the next sync a file system journal.
        if self.next == end && room < self.zeroed && !self.dirty_tail {
            // A mark that fails half-way is a dirty tail: the next batch begins a new file.
            if let Err(error) = self.write_record(&[]) {
                tracing::debug!(%error, "journal not marked as durable");
            }
        }
    }

    /// Appends a batch, not durable yet.
    pub(super) fn append(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.write_record(payload)?;
        self.batches_end = self.next;
        Ok(())
    }

    fn write_record(&mut self, payload: &[u8]) -> Result<(), Error> {
        let mut bytes = Vec::with_capacity(payload.len() + record::OVERHEAD);
        let (id, link) = ((self.next, 0), (self.durable_end, self.prev));
        let prev = record::encode(&mut bytes, self.epoch, id, link, payload);
        let length = u64::try_from(bytes.len()).expect("usize fits u64");
        match write_zeroed(&*self.file, self.offset, bytes, self.zeroed, STEP) {
            Ok(zeroed) => self.zeroed = zeroed,
            Err(error) => {
                self.dirty_tail = true;
                return Err(Error::io("write", &self.path)(error));
            }
        }
        self.offset += length;
        self.prev = prev;
        self.next += 1;
        debug_assert!(self.offset >= u64::try_from(HEADER).expect("a small constant"));
        Ok(())
    }
}

/// Removes the journals that `current` has replaced.
pub(super) fn remove_others(disk: &dyn Disk, dir: &Path, current: &Journal) -> Result<(), Error> {
    for name in disk.list(dir).map_err(Error::io("list", dir))? {
        if name.ends_with(".seg") && name != segment::name(current.epoch) {
            let path = dir.join(name);
            disk.remove(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}
