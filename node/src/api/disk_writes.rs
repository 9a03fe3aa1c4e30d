//! How much this daemon writes to its disk: a rate over about the last hour.
//!
//! Not over its whole life: a start writes more than hours of idling, and a busy day last week says
//! nothing of today.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::backend::Backend;

/// Time between two samples.
const SAMPLE_EVERY: Duration = Duration::from_secs(600);
/// Samples that are kept: the oldest is a little more than an hour old.
const SAMPLES_MAX: usize = 7;
/// A rate over less would be mostly chance.
const SPAN_LEAST: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Samples of what was written, a clone is a handle to the same ones.
#[derive(Debug, Clone, Default)]
pub(super) struct DiskWrites {
    /// When, and how many bytes since the start, oldest first.
    samples: Arc<Mutex<VecDeque<(Instant, u64)>>>,
}

impl DiskWrites {
    /// Takes samples for ever; the first one when the writes of the start are over.
    pub(super) async fn run(self, backend: Arc<dyn Backend>) {
        loop {
            sleep(SAMPLE_EVERY).await;
            self.note(Instant::now(), backend.facts().disk_bytes_written);
        }
    }

    fn note(&self, now: Instant, bytes: u64) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.len() == SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back((now, bytes));
    }

    /// Bytes a day, by what was written since the oldest sample; `None` until that is an hour old.
    pub(super) fn per_day(&self, now: Instant, bytes: u64) -> Option<u64> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, before) = samples.front().copied()?;
        let span = now.saturating_duration_since(at);
        if span < SPAN_LEAST {
            return None;
        }
        let written = u128::from(bytes.saturating_sub(before));
        Some(u64::try_from(written * DAY.as_millis() / span.as_millis()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_that_of_the_last_hour_and_leaves_the_start_out() {
        let (writes, start) = (DiskWrites::default(), Instant::now());
        let at = |minutes: u64| start + Duration::from_secs(minutes * 60);
        assert_eq!(writes.per_day(at(5), 1 << 30), None);
        writes.note(at(10), 1 << 30);
        assert_eq!(writes.per_day(at(69), (1 << 30) + 50), None, "not an hour yet");
        assert_eq!(writes.per_day(at(70), (1 << 30) + 100), Some(2400));
        for minutes in (20..=200).step_by(10) {
            writes.note(at(minutes), (1 << 30) + 7000);
        }
        assert_eq!(writes.per_day(at(210), (1 << 30) + 7000), Some(0), "idle for an hour");
    }
}
