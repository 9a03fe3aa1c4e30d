//! Reads the log from any thread: from memory while it is new, else from its segments.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use super::Record;
use super::shared::{Shared, State};
use super::to_u64;
use crate::store::disk::DiskFile;
use crate::store::record::{self, HEAD, OVERHEAD, Stored};
use crate::store::{Error, Position, Table};

/// Reads a log; clones share it. All calls block (for a record that is cached: on a short lock).
#[derive(Debug, Clone)]
pub struct LogReader {
    shared: Arc<Shared>,
}

/// A run of records in one file.
struct Run {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    epoch: u64,
    offset: u64,
    length: usize,
    next: u64,
}

fn run(state: &State, range: &Range<u64>, max_bytes: usize) -> Option<Run> {
    let segment = state.segment_of(range.start)?;
    let offset = segment.offset(range.start);
    let size = |index| {
        let size = segment.offset(index + 1) - segment.offset(index);
        usize::try_from(size).map_or(usize::MAX, |size| size - OVERHEAD)
    };
    let limit = range.end.min(segment.next());
    let mut next = range.start + 1;
    let mut payload = size(range.start);
    while next < limit {
        payload = payload.saturating_add(size(next));
        if payload > max_bytes {
            break;
        }
        next += 1;
    }
    let length = usize::try_from(segment.offset(next) - offset).ok()?;
    let (path, file) = (segment.path.clone(), segment.file.clone());
    Some(Run { path, file, epoch: segment.epoch, offset, length, next })
}

impl LogReader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
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

    /// The records of `range` that are here, in order and without a gap, while their payloads fit
    /// `max_bytes`; at least one if `range.start` is here. Ends early at the log's end.
    ///
    /// # Errors
    /// [`Error::Absent`] if `range.start` was purged; [`Error::Damaged`] if stored bytes changed.
    pub fn read(&self, range: Range<u64>, max_bytes: usize) -> Result<Vec<Record>, Error> {
        let mut records = Vec::new();
        let mut rest = range;
        let mut room = max_bytes;
        loop {
            let run = {
                let state = self.shared.state();
                if records.is_empty() && rest.start < state.start && !rest.is_empty() {
                    return Err(Error::Absent { index: rest.start });
                }
                if rest.is_empty() || rest.start >= state.end {
                    return Ok(records);
                }
                if let Some(cached) = state.cache.read(&rest, room) {
                    let fits = |first: &Record| records.is_empty() || first.payload.len() <= room;
                    if cached.first().is_some_and(fits) {
                        records.extend(cached);
                    }
                    return Ok(records);
                }
                run(&state, &rest, room)
            };
            let Some(run) = run else { return Ok(records) };
            let fresh = load(&run, rest.start)?;
            let size = fresh.iter().map(|record| record.payload.len()).sum::<usize>();
            if size > room && !records.is_empty() {
                return Ok(records);
            }
            records.extend(fresh);
            if size >= room {
                return Ok(records);
            }
            room -= size;
            rest.start = run.next;
        }
    }
}

/// Reads a run and checks every record of it again: a disk may rot while it runs.
fn load(run: &Run, first: u64) -> Result<Vec<Record>, Error> {
    let mut bytes = vec![0; run.length];
    let read = run.file.read_at(run.offset, &mut bytes).map_err(Error::io("read", &run.path))?;
    bytes.truncate(read);
    let bytes = Bytes::from(bytes);
    let mut records = Vec::new();
    let mut at = 0;
    for index in first..run.next {
        let Stored::Record(head) = record::decode(&bytes, at, run.epoch) else {
            return Err(Error::damaged(
                Table::Log,
                &run.path,
                run.offset + to_u64(at),
                "a record has changed",
            ));
        };
        if head.index != index {
            return Err(Error::damaged(
                Table::Log,
                &run.path,
                run.offset + to_u64(at),
                "another record",
            ));
        }
        let payload = bytes.slice(at + HEAD..at + HEAD + head.length);
        records.push(Record { index, term: head.term, payload });
        at += head.size();
    }
    Ok(records)
}
