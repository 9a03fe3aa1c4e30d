//! What the log's writer, readers and syncing threads share: the list of segments and its end.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::cache::Cache;
use super::{LogOptions, Record, to_u64};
use crate::store::disk::{Disk, DiskFile};
use crate::store::meta::MetaTable;
use crate::store::record::{self, HEAD, HEADER, Head, Header};
use crate::store::segment::{self, write_zeroed};
use crate::store::{DiskFault, Error, Position, Table};

pub(super) const MAGIC: [u8; 8] = *b"swarmlog";

/// Locks are taken in this order: `syncing`, `state`. No disk access under `state`.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) meta: MetaTable,
    pub(super) options: LogOptions,
    pub(super) fault: DiskFault,
    /// Held during a sync and by what must not overlap one.
    pub(super) syncing: Mutex<Mark>,
    pub(super) state: Mutex<State>,
    /// Records below are durable.
    pub(super) durable_end: AtomicU64,
    pub(super) written: AtomicU64,
}

/// The high-water mark as it was last written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) at: Option<Position>,
    /// Whether that write was synced.
    pub(super) durable: bool,
}

#[derive(Debug)]
pub(super) struct State {
    /// By epoch; never empty.
    pub(super) segments: VecDeque<Segment>,
    pub(super) cache: Cache,
    /// The lowest index that is or can be here.
    pub(super) start: u64,
    /// The index that comes next.
    pub(super) end: u64,
    pub(super) purged: Option<Position>,
    pub(super) last: Option<Position>,
    /// Checksum of the last record.
    pub(super) prev: u32,
    /// A segment was begun and its name is not durable yet.
    pub(super) dir_dirty: bool,
}

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) epoch: u64,
    pub(super) first: u64,
    /// Where each record stands.
    pub(super) offsets: Vec<u32>,
    /// Where the records end.
    pub(super) end: u64,
    /// The file's length: from `end` to here it holds zeros.
    pub(super) zeroed: u64,
    pub(super) dirty: bool,
}

impl Segment {
    /// The index after its last record.
    pub(super) fn next(&self) -> u64 {
        self.first + to_u64(self.offsets.len())
    }

    /// Where record `index` stands, or where it would.
    pub(super) fn offset(&self, index: u64) -> u64 {
        let at = usize::try_from(index - self.first).unwrap_or(usize::MAX);
        self.offsets.get(at).map_or(self.end, |&offset| offset.into())
    }
}

/// Where the next bytes go.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) epoch: u64,
    pub(super) offset: u64,
    pub(super) zeroed: u64,
}

impl State {
    pub(super) fn newest(&self) -> &Segment {
        self.segments.back().expect("a log has at least one segment")
    }

    pub(super) fn last(&self) -> Option<Position> {
        self.last.filter(|last| last.index >= self.start)
    }

    /// The segment with record `index`.
    pub(super) fn segment_of(&self, index: u64) -> Option<&Segment> {
        let after = self.segments.partition_point(|segment| segment.first <= index);
        let segment = self.segments.get(after.checked_sub(1)?)?;
        (index < segment.next()).then_some(segment)
    }

    pub(super) fn appended(
        &mut self,
        records: &[Record],
        newest: Position,
        prev: u32,
        offsets: &[u32],
        bytes: u64,
        zeroed: u64,
    ) {
        let segment = self.segments.back_mut().expect("a log has at least one segment");
        segment.offsets.extend_from_slice(offsets);
        segment.end += bytes;
        segment.zeroed = zeroed;
        segment.dirty = true;
        self.end = newest.index + 1;
        self.last = Some(newest);
        self.prev = prev;
        for record in records {
            self.cache.push(record.clone());
        }
    }

    /// If every record was purged and more: goes on after them. Returns whether that was so.
    pub(super) fn jump_gap(&mut self) -> bool {
        let beyond = self.end < self.start;
        if beyond {
            (self.end, self.last, self.prev) = (self.start, None, 0);
            self.cache.forget(self.start);
        }
        beyond
    }

    /// Forgets the records from `end` on; whole segments are returned.
    fn cut(&mut self, end: u64) -> Vec<Segment> {
        let mut gone = Vec::new();
        while let Some(segment) = self.segments.pop_back_if(|newest| newest.first >= end) {
            gone.push(segment);
        }
        if let Some(segment) = self.segments.back_mut() {
            segment.end = segment.offset(end);
            let kept = usize::try_from(end - segment.first).unwrap_or(usize::MAX);
            segment.offsets.truncate(kept);
        }
        self.cache.cut(end);
        gone
    }
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the log's state panics")
    }

    pub(super) fn durable_end(&self) -> u64 {
        self.durable_end.load(Ordering::Acquire)
    }

    pub(super) fn bytes_written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn place(&self) -> (Place, u32) {
        let state = self.state();
        let segment = state.newest();
        let place = Place {
            path: segment.path.clone(),
            file: segment.file.clone(),
            epoch: segment.epoch,
            offset: segment.end,
            zeroed: segment.zeroed,
        };
        (place, state.prev)
    }

    /// The head of a record that is here, from its segment.
    fn head(&self, index: u64) -> Result<Head, Error> {
        let (file, path, offset, epoch) = {
            let state = self.state();
            let segment = state.segment_of(index).ok_or(Error::Absent { index })?;
            (segment.file.clone(), segment.path.clone(), segment.offset(index), segment.epoch)
        };
        let mut bytes = [0; HEAD];
        file.read_at(offset, &mut bytes).map_err(Error::io("read", &path))?;
        let head = record::decode_head(&bytes, epoch).filter(|head| head.index == index);
        head.ok_or_else(|| {
            Error::damaged(Table::Log, &path, offset, "a record's head is not valid")
        })
    }

    /// The position of a record that is here or was the last to be purged.
    pub(super) fn position(&self, index: u64) -> Result<Position, Error> {
        let purged = self.state().purged;
        match purged.filter(|purged| purged.index == index) {
            Some(purged) => Ok(purged),
            None => Ok(Position { index, term: self.head(index)?.term }),
        }
    }

    /// Begins a new segment: at the log's end, durable with the next sync; or, with `cut`, at that
    /// index, durably, which cuts off what follows in older segments or jumps over a gap.
    pub(super) fn begin_segment(&self, cut: Option<u64>) -> Result<(), Error> {
        let (end, start, epoch, last, prev) = {
            let state = self.state();
            (state.end, state.start, state.newest().epoch + 1, state.last, state.prev)
        };
        let first = cut.unwrap_or(end);
        let (last, prev) = match first.checked_sub(1) {
            Some(_) if first == end => (last, prev),
            Some(before) if first > start && first < end => {
                let head = self.head(before)?;
                (Some(Position { index: before, term: head.term }), head.crc)
            }
            _empty => (None, 0),
        };
        let durable_end = self.durable_end().min(first);
        let header = Header { magic: MAGIC, epoch, first, durable_end, prev };
        let segment = make(&*self.disk, &self.dir, header, self.options.zero_step, &self.fault)?;
        self.count(segment.zeroed);
        if cut.is_some() {
            self.fault.watch(&segment.path, segment.file.sync())?;
            self.fault.watch(&self.dir, self.disk.sync_dir(&self.dir))?;
        }
        let mut state = self.state();
        let gone = state.cut(first);
        state.segments.push_back(segment);
        state.end = first;
        state.last = last;
        state.prev = prev;
        state.dir_dirty |= cut.is_none();
        drop(state);
        if cut.is_some() {
            self.durable_end.store(durable_end.max(start.min(first)), Ordering::Release);
            self.remove(&gone);
        }
        Ok(())
    }

    /// Removes the segments of which every record was purged.
    pub(super) fn drop_dead_segments(&self) {
        let mut gone = Vec::new();
        {
            let mut state = self.state();
            while state.segments.get(1).is_some_and(|second| second.first <= state.start) {
                gone.extend(state.segments.pop_front());
            }
            let start = state.start;
            state.cache.forget(start);
        }
        self.remove(&gone);
    }

    /// Their records no longer count, so a file that stays is only space: the next start retries.
    fn remove(&self, gone: &[Segment]) {
        for segment in gone {
            if let Err(error) = self.disk.remove(&segment.path) {
                tracing::warn!(path = %segment.path.display(), %error, "old segment not removed");
            }
        }
    }
}

/// Makes the file of a segment; not durable yet.
pub(super) fn make(
    disk: &dyn Disk,
    dir: &Path,
    header: Header,
    step: u64,
    fault: &DiskFault,
) -> Result<Segment, Error> {
    let path = dir.join(segment::name(header.epoch));
    let file = disk.create(&path).map_err(Error::io("create", &path))?;
    let zeroed = match write_zeroed(&*file, 0, header.encode().to_vec(), 0, step) {
        Ok(zeroed) => zeroed,
        Err(error) => {
            // A header that turned up after a crash would outdate records written from now on.
            fault.watch(&path, disk.remove(&path).and_then(|()| disk.sync_dir(dir)))?;
            return Err(Error::io("write", &path)(error));
        }
    };
    let (epoch, first, end) = (header.epoch, header.first, to_u64(HEADER));
    Ok(Segment { path, file, epoch, first, offsets: Vec::new(), end, zeroed, dirty: true })
}
