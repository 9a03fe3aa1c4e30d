//! The Raft log: append-only segment files with a cache of the newest records.
//!
//! One writer ([`LogTable`]), any number of readers ([`LogReader`]) and syncing threads
//! ([`SyncHandle`]), so that records are written and read while an earlier sync still runs. What a
//! payload means is Raft's business. The format and the crash rules are in docs/design/storage.md.

mod cache;
mod reader;
mod recover;
mod shared;
mod sync;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

pub use reader::LogReader;
pub use sync::SyncHandle;

use super::disk::Disk;
use super::meta::MetaTable;
use super::record::{self, MAX_PAYLOAD};
use super::segment::write_zeroed;
use super::{Error, Position};
use shared::Shared;

/// One entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place; the next one's is one higher.
    pub index: u64,
    /// The Raft term; never falls along the log.
    pub term: u64,
    /// At most 4 MiB; opaque.
    pub payload: Bytes,
}

impl Record {
    /// Its index and term.
    pub fn position(&self) -> Position {
        Position { index: self.index, term: self.term }
    }
}

/// Sizes; the default is what `swarm` runs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOptions {
    /// Length at which a new segment begins.
    pub segment_bytes: u64,
    /// Room that is filled with zeros ahead of the records.
    pub zero_step: u64,
    /// Memory for the newest records.
    pub cache_bytes: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { segment_bytes: 4 << 20, zero_step: 256 << 10, cache_bytes: 2 << 20 }
    }
}

/// The log's only writer. All calls block.
#[derive(Debug)]
pub struct LogTable {
    shared: Arc<Shared>,
    /// A write failed half-way: go on in a new segment, so that its bytes never count.
    dirty_tail: bool,
}

impl LogTable {
    /// Opens the log in `dir`, or makes an empty one; `meta` knows how far it had come.
    ///
    /// # Errors
    /// [`Error::Damaged`] and [`Error::RolledBack`] if what was durable does not read back. Records
    /// whose sync never finished and that were cut short are dropped with a warning.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        meta: MetaTable,
        options: LogOptions,
    ) -> Result<Self, Error> {
        let shared = Arc::new(recover::open(disk, dir, meta, options)?);
        Ok(Self { shared, dirty_tail: false })
    }

    /// A handle that reads, for any thread.
    pub fn reader(&self) -> LogReader {
        LogReader::new(self.shared.clone())
    }

    /// A handle that makes durable what was appended, for any thread.
    pub fn sync_handle(&self) -> SyncHandle {
        SyncHandle::new(self.shared.clone())
    }

    /// The lowest index that is or can be here.
    pub fn first_index(&self) -> u64 {
        self.shared.state().start
    }

    /// The newest record, if any is here.
    pub fn last(&self) -> Option<Position> {
        self.shared.state().last()
    }

    /// The newest record that was purged.
    pub fn purged(&self) -> Option<Position> {
        self.shared.state().purged
    }

    /// Bytes written to files since the log was opened, zeros included.
    pub fn bytes_written(&self) -> u64 {
        self.shared.bytes_written()
    }

    /// As of [`LogReader::read`].
    ///
    /// # Errors
    /// As there.
    pub fn read(
        &self,
        range: std::ops::Range<u64>,
        max_bytes: usize,
    ) -> Result<Vec<Record>, Error> {
        self.reader().read(range, max_bytes)
    }

    /// As of [`SyncHandle::sync`].
    ///
    /// # Errors
    /// As there.
    pub fn sync(&self) -> Result<Option<Position>, Error> {
        self.sync_handle().sync()
    }

    /// Appends records with one write: readable at once, durable after a sync.
    ///
    /// # Errors
    /// [`Error::NotNext`] or [`Error::TooLarge`] for the caller's mistakes, [`Error::DiskFull`] and
    /// [`Error::Io`] from the disk: nothing was appended, and the same may be tried again.
    pub fn append(&mut self, records: &[Record]) -> Result<(), Error> {
        self.shared.fault.check()?;
        let (Some(newest), mut expected) = (records.last(), self.shared.state().end) else {
            return Ok(());
        };
        for record in records {
            if record.index != expected {
                return Err(Error::NotNext { expected, found: record.index });
            }
            let (size, limit) = (record.payload.len(), MAX_PAYLOAD);
            if size > limit {
                return Err(Error::TooLarge { size, limit });
            }
            expected += 1;
        }
        let size = records.iter().map(|record| record.payload.len() + record::OVERHEAD).sum();
        self.make_room(size)?;
        let (place, mut prev) = self.shared.place();
        let durable_end = self.shared.durable_end();
        let mut bytes = Vec::with_capacity(size + 1);
        let mut offsets = Vec::with_capacity(records.len());
        for record in records {
            let offset = place.offset + to_u64(bytes.len());
            offsets.push(u32::try_from(offset).expect("a segment is far below 4 GiB"));
            let (id, link) = ((record.index, record.term), (durable_end, prev));
            prev = record::encode(&mut bytes, place.epoch, id, link, &record.payload);
        }
        let step = self.shared.options.zero_step;
        let zeroed = write_zeroed(&*place.file, place.offset, bytes, place.zeroed, step);
        let zeroed = zeroed.map_err(|error| {
            self.dirty_tail = true;
            Error::io("write", &place.path)(error)
        })?;
        self.shared.count(zeroed.max(place.zeroed) - place.zeroed + to_u64(size));
        let mut state = self.shared.state();
        state.appended(records, newest.position(), prev, &offsets, to_u64(size), zeroed);
        Ok(())
    }

    /// Sees to it that `size` bytes may be written to the newest segment.
    fn make_room(&mut self, size: usize) -> Result<(), Error> {
        let full = {
            let state = self.shared.state();
            let segment = state.newest();
            let end = segment.end + to_u64(size);
            end >= self.shared.options.segment_bytes && !segment.offsets.is_empty()
        };
        if self.dirty_tail {
            // Durably: else a crash could bring the failed records back in place of these.
            let handle = self.sync_handle();
            let _no_sync_meanwhile = handle.pause()?;
            let end = self.shared.state().end;
            self.shared.begin_segment(Some(end))?;
            self.dirty_tail = false;
        } else if full {
            self.shared.begin_segment(None)?;
        }
        Ok(())
    }

    /// Cuts off every record after `last_kept` (all, for `None`), durably.
    ///
    /// # Errors
    /// [`Error::Absent`] if `last_kept` was purged away or never written; else from the disk:
    /// nothing was cut off.
    pub fn truncate_after(&mut self, last_kept: Option<u64>) -> Result<(), Error> {
        let end = last_kept.map_or(0, |index| index + 1);
        let handle = self.sync_handle();
        let mut mark = handle.pause()?;
        let (here, start) = {
            let state = self.shared.state();
            (state.end, state.start)
        };
        if end >= here && !self.dirty_tail {
            return Ok(());
        }
        let end = end.min(here);
        if end < start {
            return Err(Error::Absent { index: end });
        }
        handle.lower_high_water(&mut mark, end)?;
        self.shared.begin_segment(Some(end))?;
        self.dirty_tail = false;
        Ok(())
    }

    /// Forgets every record up to `last`, which may lie beyond the log's end (a snapshot came from
    /// elsewhere). Durable; files are removed as a whole, so disk space comes back in steps.
    ///
    /// # Errors
    /// From the disk: the log then still holds the records, or has forgotten them.
    pub fn purge_upto(&mut self, last: Position) -> Result<(), Error> {
        let handle = self.sync_handle();
        let mut mark = handle.pause()?;
        if last.index < self.first_index() {
            return Ok(());
        }
        // What stays must not depend on files that go.
        handle.sync_paused(&mut mark)?;
        // First, so that a log without its oldest files is never without a reason.
        self.shared.meta.set_last_purged(last)?;
        let beyond = {
            let mut state = self.shared.state();
            state.purged = Some(last);
            state.start = last.index + 1;
            state.jump_gap()
        };
        if beyond {
            // Until that is done, no record may follow in the old segment.
            self.dirty_tail = true;
            self.shared.begin_segment(Some(last.index + 1))?;
            self.dirty_tail = false;
        }
        self.shared.drop_dead_segments();
        Ok(())
    }

    /// Notes how far the log is durable, for a clean stop or a pause in the work.
    ///
    /// # Errors
    /// From the disk.
    pub fn save_high_water(&self) -> Result<(), Error> {
        self.sync_handle().save_high_water()
    }
}

fn to_u64(size: usize) -> u64 {
    u64::try_from(size).expect("usize fits u64")
}

#[cfg(test)]
mod tests;
