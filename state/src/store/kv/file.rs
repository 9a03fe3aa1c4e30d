//! The journal's current file: found after a restart, written anew, appended to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::batch;
use crate::store::disk::{Disk, DiskFile};
use crate::store::poison::Poison;
use crate::store::record::{self, HEADER, Header};
use crate::store::segment::{self, End, Found, write_zeroed};
use crate::store::{Error, Table};

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
}

/// Reads the newest journal in `dir`; older and unfinished files are removed.
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
    for epoch in epochs {
        let path = dir.join(segment::name(epoch));
        disk.remove(&path).map_err(Error::io("remove", &path))?;
    }
    let zeroed = u64::try_from(found.bytes.len()).expect("usize fits u64");
    let journal = Journal {
        path: found.path.clone(),
        file: found.file,
        epoch: newest,
        offset,
        zeroed,
        next: walk.next,
        prev: walk.prev,
        durable_end: walk.next,
        dirty_tail: false,
    };
    let journal = clean.then_some(journal);
    Ok(Some(FoundJournal { path: found.path, epoch: newest, payloads, journal }))
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
    pub(super) durable_end: u64,
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
        poison: &Poison,
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
        let zeroed = write_zeroed(&*file, 0, bytes, 0, STEP).map_err(Error::io("write", &made))?;
        poison.watch(&made, file.sync())?;
        disk.rename(&made, &path).map_err(Error::io("rename", &made))?;
        poison.watch(dir, disk.sync_dir(dir))?;
        let durable_end = next;
        Ok(Self { path, file, epoch, offset, zeroed, next, prev, durable_end, dirty_tail: false })
    }

    /// Whether an earlier write failed half-way.
    pub(super) fn needs_rewrite(&self) -> bool {
        self.dirty_tail
    }

    /// Appends a batch, not durable yet.
    pub(super) fn append(&mut self, payload: &[u8]) -> Result<(), Error> {
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
