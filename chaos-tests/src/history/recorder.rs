//! Collects records from many clients in the order in which they are handed over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Record;

/// Collects records. Clones are handles to the same one.
#[derive(Debug, Clone, Default)]
pub struct Recorder(Arc<Mutex<Vec<Record>>>);

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, Vec<Record>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a record: an [`super::Kind::Invoke`] before its request is sent, any other after the
    /// answer has come. No two records get the same time, so their order says what came first.
    pub fn note(&self, mut record: Record) {
        let mut records = self.lock();
        if let Some(last) = records.last() {
            record.t_us = record.t_us.max(last.t_us + 1);
        }
        records.push(record);
    }

    /// All records so far, oldest first.
    pub fn records(&self) -> Vec<Record> {
        self.lock().clone()
    }
}
