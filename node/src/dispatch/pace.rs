//! How fast one agent's reports are taken in: what comes faster waits in its stream, and the agent, which keeps
//! only the newest status of each task, has less to tell then. So nothing is lost, and no node keeps the
//! leader busy.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// What a message counts for besides its reports.
const MESSAGE: u32 = 20;
/// Counts a second that one agent may go on with: about 95 single reports, or 1,900 in full messages.
const RATE: u32 = 2000;
/// Counts that may come at once: some hundred tasks that all start.
const BURST: u32 = 10_000;

/// One agent's allowance.
#[derive(Debug)]
pub(super) struct Pace {
    left: u32,
    at: Instant,
}

impl Pace {
    /// A full one.
    pub(super) fn new() -> Self {
        Self { left: BURST, at: Instant::now() }
    }

    /// Counts a message of `reports`; how long to wait before the next one is read.
    fn count(&mut self, reports: usize, now: Instant) -> Duration {
        let earned = now.saturating_duration_since(self.at).as_millis() * u128::from(RATE) / 1000;
        let earned = u32::try_from(earned).unwrap_or(BURST);
        if earned > 0 {
            self.left = self.left.saturating_add(earned).min(BURST);
            self.at = now;
        }
        let cost = MESSAGE.saturating_add(u32::try_from(reports).unwrap_or(u32::MAX));
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                Duration::ZERO
            }
            None => {
                let missing = cost.saturating_sub(self.left);
                self.left = 0;
                let wait = Duration::from_secs(1) * missing / RATE;
                // What is earned while waiting pays for this message.
                self.at = now + wait;
                wait
            }
        }
    }

    /// Waits until a message of `reports` is paid for.
    pub(super) async fn wait(&mut self, reports: usize) {
        let wait = self.count(reports, Instant::now());
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages of `reports` that are taken in `seconds`.
    fn taken(reports: usize, seconds: u64) -> u64 {
        let (start, mut pace) = (Instant::now(), Pace::new());
        let (end, mut now, mut count) = (start + Duration::from_secs(seconds), start, 0);
        while now < end {
            now += pace.count(reports, now);
            count += 1;
        }
        count
    }

    #[test]
    fn a_burst_passes_and_a_flood_is_slowed_to_the_rate() {
        let mut pace = Pace::new();
        let now = Instant::now();
        assert!((0..400).all(|_| pace.count(1, now).is_zero()), "400 tasks start at once");
        assert!((1400..1500).contains(&taken(1, 10)), "{}", taken(1, 10));
        assert!((50..70).contains(&taken(500, 10)), "{}", taken(500, 10));
    }

    #[test]
    fn what_was_not_used_comes_back_up_to_a_burst() {
        let (now, mut pace) = (Instant::now(), Pace::new());
        while pace.count(500, now).is_zero() {}
        let later = now + Duration::from_secs(3600);
        assert!(pace.count(500, later).is_zero());
        assert!(pace.left < BURST);
    }
}
