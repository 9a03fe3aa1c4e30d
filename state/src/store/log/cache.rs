//! The newest records in memory, so that replication does not read the disk.

use std::collections::VecDeque;
use std::ops::Range;

use super::Record;

/// Memory of a cached record beside its payload.
const OVERHEAD: usize = 64;

/// A run of records that ends with the log.
#[derive(Debug)]
pub(super) struct Cache {
    records: VecDeque<Record>,
    bytes: usize,
    limit: usize,
}

impl Cache {
    pub(super) fn new(limit: usize) -> Self {
        Self { records: VecDeque::new(), bytes: 0, limit }
    }

    pub(super) fn push(&mut self, record: Record) {
        debug_assert!(self.records.back().is_none_or(|newest| newest.index + 1 == record.index));
        self.bytes += record.payload.len() + OVERHEAD;
        self.records.push_back(record);
        while self.bytes > self.limit {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        if let Some(gone) = self.records.pop_front() {
            self.bytes -= gone.payload.len() + OVERHEAD;
        }
    }

    /// Drops the records from `end` on.
    pub(super) fn cut(&mut self, end: u64) {
        while let Some(gone) = self.records.pop_back_if(|newest| newest.index >= end) {
            self.bytes -= gone.payload.len() + OVERHEAD;
        }
    }

    /// Drops the records before `start`.
    pub(super) fn forget(&mut self, start: u64) {
        while self.records.front().is_some_and(|oldest| oldest.index < start) {
            self.pop_front();
        }
    }

    /// The records of `range` while they fit `max_bytes` of payload, at least one; `None` if the
    /// first of them is not cached.
    pub(super) fn read(&self, range: &Range<u64>, max_bytes: usize) -> Option<Vec<Record>> {
        let oldest = self.records.front()?.index;
        let skip = usize::try_from(range.start.checked_sub(oldest)?).ok()?;
        let mut bytes = 0;
        let mut found = Vec::new();
        for record in self.records.iter().skip(skip).take_while(|record| record.index < range.end) {
            bytes += record.payload.len();
            if bytes > max_bytes && !found.is_empty() {
                break;
            }
            found.push(record.clone());
        }
        (!found.is_empty()).then_some(found)
    }
}
