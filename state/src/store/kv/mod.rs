//! A small ordered map on disk: the home of vote, metadata and agent records.
//!
//! Held in memory, written as a journal of batches with the log's record format, rewritten as a
//! whole when the journal has grown to several times its content. Not for large data. Why not
//! sled: docs/design/storage.md.

mod batch;
mod count;
mod file;
mod look;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};

pub(super) use batch::{encode as batch_bytes, feed as feed_batch};

pub use batch::Write;
pub(super) use count::{check as check_counts, partner_of, write as count_write};
pub(super) use look::Looked;

use super::disk::Disk;
use super::record::MAX_PAYLOAD;
use super::{DiskFault, Error, Table};
use file::Journal;

/// A journal is never rewritten below this length.
const COMPACT_FLOOR: u64 = 64 << 10;
/// A journal is rewritten when it is this many times as long as its content.
const COMPACT_FACTOR: u64 = 4;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// The map; clones share it. All calls block.
#[derive(Debug, Clone)]
pub struct Kv(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    table: Table,
    /// Taken before `inner` by whoever syncs, so that one sync serves all that wait.
    syncing: Mutex<()>,
    inner: Mutex<Inner>,
    fault: DiskFault,
    fresh: bool,
    /// The map that knows how many batches were durable here.
    partner: OnceLock<Weak<Shared>>,
}

#[derive(Debug)]
struct Inner {
    map: Map,
    live: u64,
    journal: Journal,
    compact_at: u64,
}

impl Inner {
    fn set(&mut self, writes: &[Write]) {
        for write in writes {
            let old = match write {
                Write::Put(key, value) => {
                    self.live += batch::weight(key, value);
                    let old = self.map.insert(key.clone(), value.clone());
                    old.map_or(0, |old| batch::weight(key, &old))
                }
                Write::Remove(key) => {
                    self.map.remove(key).map_or(0, |old| batch::weight(key, &old))
                }
            };
            self.live -= old;
        }
    }
}

impl Kv {
    /// Opens the map of `table` in `dir`, or makes an empty one.
    ///
    /// # Errors
    /// [`Error::Damaged`] if what was synced does not read back; a batch that was cut short before
    /// its sync is dropped with a warning.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        table: Table,
        fault: DiskFault,
    ) -> Result<Self, Error> {
        Self::look(disk, dir, table)?.open(fault)
    }

    /// Reads the map of `table` in `dir` and changes nothing yet.
    ///
    /// # Errors
    /// As of [`Kv::open`].
    pub(super) fn look(disk: Arc<dyn Disk>, dir: &Path, table: Table) -> Result<Looked, Error> {
        Looked::read(disk, dir, table)
    }

    /// Makes a map with `writes` in it, all at once and durably, in a folder that has none.
    pub(super) fn create(
        disk: Arc<dyn Disk>,
        dir: &Path,
        table: Table,
        writes: &[Write],
    ) -> Result<(), Error> {
        disk.create_dir(dir).map_err(Error::io("make", dir))?;
        let mut map = BTreeMap::new();
        for write in writes {
            match write {
                Write::Put(key, value) => map.insert(key.clone(), value.clone()),
                Write::Remove(key) => map.remove(key),
            };
        }
        Journal::write(&*disk, (dir, table), 1, &map, &DiskFault::default()).map(drop)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().expect("no holder of the map panics")
    }

    /// Whether this folder held no map when it was opened.
    pub fn is_fresh(&self) -> bool {
        self.0.fresh
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.inner().map.is_empty()
    }

    /// What watches the syncs of its store.
    pub(super) fn fault(&self) -> &DiskFault {
        &self.0.fault
    }

    /// The folder it lives in.
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// The value of `key`.
    pub fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.inner().map.get(key).cloned()
    }

    /// All pairs whose key starts with `prefix`, in key order.
    pub fn scan(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let inner = self.inner();
        let pairs =
            inner.map.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        pairs.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// Writes a batch: seen at once, durable after [`Kv::sync`]. After a crash all of it is there
    /// or nothing, unless it is larger than one record (4 MiB).
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::DiskFull`], [`Error::Io`]: nothing changed, may be retried.
    /// A restart may find the failed batch applied, unless a later one succeeded.
    pub fn apply(&self, writes: &[Write]) -> Result<(), Error> {
        self.write(|_map| writes.to_vec())
    }

    /// As [`Kv::apply`], with writes that depend on what is in the map.
    fn write(&self, writes: impl FnOnce(&Map) -> Vec<Write>) -> Result<(), Error> {
        self.0.fault.check()?;
        let mut inner = self.inner();
        let writes = writes(&inner.map);
        if writes.is_empty() {
            return Ok(());
        }
        for write in &writes {
            let size = write.size();
            if size > MAX_PAYLOAD {
                return Err(Error::TooLarge { size, limit: MAX_PAYLOAD });
            }
        }
        if inner.journal.needs_rewrite() {
            self.rewrite(&mut inner)?;
        } else if inner.journal.offset > inner.compact_at
            && let Err(error) = self.rewrite(&mut inner)
        {
            tracing::warn!(%error, "journal not rewritten, it goes on growing");
            inner.compact_at = inner.journal.offset * 2;
            self.0.fault.check()?;
        }
        for part in batch::split(&writes) {
            inner.journal.append(&batch::encode(part))?;
            inner.set(part);
        }
        Ok(())
    }

    fn rewrite(&self, inner: &mut Inner) -> Result<(), Error> {
        let (old, epoch) = (inner.journal.path.clone(), inner.journal.epoch + 1);
        let Shared { disk, dir, table, fault, .. } = &*self.0;
        inner.journal = Journal::write(&**disk, (dir, *table), epoch, &inner.map, fault)?;
        inner.compact_at = COMPACT_FLOOR.max(inner.live * COMPACT_FACTOR);
        if let Err(error) = disk.remove(&old) {
            tracing::debug!(path = %old.display(), %error, "old journal left for the next start");
        }
        Ok(())
    }

    /// Makes every batch applied before the call durable.
    ///
    /// # Errors
    /// [`Error::Poisoned`] now and for ever after, if the disk fails.
    pub fn sync(&self) -> Result<(), Error> {
        let _one_at_a_time = self.0.syncing.lock().expect("no holder of the map panics");
        self.0.fault.check()?;
        let (file, path, epoch, next) = {
            let journal = &self.inner().journal;
            if journal.is_durable() {
                return Ok(());
            }
            (journal.file.clone(), journal.path.clone(), journal.epoch, journal.next)
        };
        self.0.fault.watch(&path, file.sync())?;
        let mut inner = self.inner();
        if inner.journal.epoch == epoch {
            inner.journal.synced(next);
        }
        Ok(())
    }

    /// [`Kv::apply`], then [`Kv::sync`].
    ///
    /// # Errors
    /// Theirs.
    pub fn apply_durably(&self, writes: &[Write]) -> Result<(), Error> {
        let Some(partner) = self.0.partner.get().filter(|_map| !writes.is_empty()) else {
            self.apply(writes)?;
            return self.sync();
        };
        let mut count = 0;
        self.write(|map| {
            count = count::own(map) + 1;
            [writes, &[count::write(count)]].concat()
        })?;
        self.sync()?;
        if let Some(partner) = partner.upgrade() {
            Self(partner).note_partner(count);
        }
        Ok(())
    }

    /// Notes, without a sync, that the other map has `count` durable batches.
    fn note_partner(&self, count: u64) {
        let noted = self.write(|map| match partner_of(map) < count {
            true => vec![count::partner_write(count)],
            false => Vec::new(),
        });
        if let Err(error) = noted {
            tracing::debug!(%error, "writes of the other table not counted");
        }
    }

    /// Lets each of two maps of one store count the durable batches of the other.
    pub(super) fn link(&self, other: &Self) {
        for (one, two) in [(self, other), (other, self)] {
            // Set once, when the store is opened.
            let _first = one.0.partner.set(Arc::downgrade(&two.0));
        }
    }

    /// Bytes the journal takes on disk.
    pub fn disk_bytes(&self) -> u64 {
        self.inner().journal.offset
    }
}

#[cfg(test)]
mod tests;
