//! What is due when. If the process itself was not running, everything waits a little longer.
//!
//! It does not sleep: the driver asks for the next deadline.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// Later than this is a stall: other nodes' answers may lie unread in the socket.
const STALL: Duration = Duration::from_millis(250);
/// After a stall, this long is left to read what arrived meanwhile.
const CATCH_UP: Duration = Duration::from_millis(200);

/// A queue of `T`s by due time.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    queue: BTreeMap<(Instant, u64), T>,
    pushed: u64,
}

impl<T> Timers<T> {
    pub(crate) fn new() -> Self {
        Self { queue: BTreeMap::new(), pushed: 0 }
    }

    pub(crate) fn push(&mut self, due: Instant, timer: T) {
        self.pushed += 1;
        self.queue.insert((due, self.pushed), timer);
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.keys().next().map(|(due, _)| *due)
    }

    pub(crate) fn pop(&mut self, now: Instant) -> Option<T> {
        let entry = self.queue.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    /// The first that `is_it`, due or not.
    pub(crate) fn take_first(&mut self, is_it: impl Fn(&T) -> bool) -> Option<T> {
        let key = *self.queue.iter().find(|(_, timer)| is_it(timer))?.0;
        self.queue.remove(&key)
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.queue.retain(|_, timer| keep(timer));
    }

    /// If the first timer is so late that this process cannot have run, moves all of them on and says
    /// by how much: time in which nobody listened proves nothing about others.
    pub(crate) fn skip_stall(&mut self, now: Instant) -> Option<Duration> {
        let late = now.checked_duration_since(self.next()?)?;
        if late < STALL {
            return None;
        }
        let shift = late + CATCH_UP;
        let queue = std::mem::take(&mut self.queue);
        self.queue = queue.into_iter().map(|((due, n), timer)| ((due + shift, n), timer)).collect();
        Some(shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn timers_come_in_order_of_due_time_then_of_arrival() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::new();
        for (due, name) in [(20, 'c'), (10, 'a'), (10, 'b')] {
            timers.push(at(due), name);
        }
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.pop(at(9)), None);
        let order: Vec<_> = std::iter::from_fn(|| timers.pop(at(20))).collect();
        assert_eq!(order, ['a', 'b', 'c']);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_postpones_everything_by_its_length() {
        let start = Instant::now();
        let mut timers = Timers::new();
        timers.push(start, ());
        timers.push(start + Duration::from_secs(1), ());
        assert_eq!(timers.skip_stall(start + STALL / 2), None);
        let late = Duration::from_secs(5);
        assert_eq!(timers.skip_stall(start + late), Some(late + CATCH_UP));
        assert_eq!(timers.next(), Some(start + late + CATCH_UP));
        assert_eq!(timers.skip_stall(start + late), None);
    }
}
