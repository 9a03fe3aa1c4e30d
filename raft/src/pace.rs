//! When a snapshot is due: after so many records, but not before the log has grown by as much as the
//! last snapshot took.
//!
//! A snapshot holds the whole state, so a fixed number of records would write a large state again and
//! again: on a flash card that is wear, on a busy machine it is a hiccup. This way snapshots cost at
//! most as much as the log itself.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// After so many intervals a snapshot is due whatever it costs: a restart applies the log again.
const INTERVALS_MAX: u64 = 20;

/// Counts what was applied since the last snapshot. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    count: Arc<Mutex<Count>>,
    due: Arc<Notify>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    interval: u64,
    records: u64,
    bytes: u64,
    /// What the last snapshot took; unknown at first, so the first one comes by records alone.
    snapshot_bytes: u64,
}

impl Count {
    fn is_due(&self) -> bool {
        let paid_for = self.bytes >= self.snapshot_bytes;
        let overdue = self.records >= self.interval.saturating_mul(INTERVALS_MAX);
        self.records >= self.interval && (paid_for || overdue)
    }
}

impl Pace {
    /// A snapshot each `interval` records, or more rarely.
    pub(crate) fn new(interval: u64) -> Self {
        let count = Count { interval, records: 0, bytes: 0, snapshot_bytes: 0 };
        Self { count: Arc::new(Mutex::new(count)), due: Arc::default() }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Count) -> T) -> T {
        change(&mut self.count.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts applied records.
    pub(crate) fn applied(&self, records: u64, bytes: u64) {
        let due = self.with(|count| {
            count.records += records;
            count.bytes += bytes;
            count.is_due()
        });
        if due {
            self.due.notify_one();
        }
    }

    /// A snapshot begins: what is applied from now on counts for the next one.
    pub(crate) fn begun(&self) {
        self.with(|count| {
            count.records = 0;
            count.bytes = 0;
        });
    }

    /// A snapshot took so many bytes.
    pub(crate) fn took(&self, bytes: u64) {
        self.with(|count| count.snapshot_bytes = bytes);
    }

    /// Waits until a snapshot is due.
    pub(crate) async fn due(&self) {
        loop {
            self.due.notified().await;
            if self.with(|count| count.is_due()) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_costs_at_most_as_much_as_the_log() {
        let pace = Pace::new(10);
        let due = |pace: &Pace| pace.with(|count| count.is_due());
        pace.applied(9, 900);
        assert!(!due(&pace), "too few records");
        pace.applied(1, 100);
        assert!(due(&pace), "the first one comes by records alone");
        pace.begun();
        pace.took(5000);
        pace.applied(40, 4999);
        assert!(!due(&pace), "the log has not grown by as much yet");
        pace.applied(1, 1);
        assert!(due(&pace));
        pace.begun();
        pace.took(u64::MAX);
        pace.applied(10 * INTERVALS_MAX, 1);
        assert!(due(&pace), "a restart must not take for ever");
    }
}
