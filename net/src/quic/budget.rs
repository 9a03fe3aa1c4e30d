//! How much of a member's requests and messages is held here at once: who wants to send more waits.
//!
//! Flow control bounds what was not read; this bounds what was read and is not dealt with. Small ones are
//! free, so that a heartbeat never waits behind a burst.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits;

/// The bytes that one member may have under way on one lane, or one stranger.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Semaphore>);

/// A part of a budget, given back when dropped.
pub(crate) type Share = OwnedSemaphorePermit;

impl Budget {
    /// A budget of `bytes`, at least the longest frame if members are to use it.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(kib(bytes))))
    }

    /// Waits until `length` bytes fit. `None`: they are free, or the budget can never hold them, which the
    /// method's own limit has ruled out.
    pub(crate) async fn take(&self, length: usize) -> Option<Share> {
        if length <= limits::FREE_BYTES {
            return None;
        }
        let kib = u32::try_from(kib(length)).unwrap_or(u32::MAX);
        self.0.clone().acquire_many_owned(kib).await.ok()
    }
}

fn kib(bytes: usize) -> usize {
    bytes.div_ceil(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::MAX_FRAME;
    use futures::FutureExt;

    #[test]
    fn what_does_not_fit_waits_and_small_ones_never_do() {
        let budget = Budget::new(limits::MEMBER_BYTES);
        let held: Vec<_> = (0..limits::MEMBER_BYTES / MAX_FRAME)
            .map(|_| budget.take(MAX_FRAME).now_or_never().expect("fits").expect("counts"))
            .collect();
        assert!(budget.take(limits::FREE_BYTES + 1).now_or_never().is_none(), "one too many");
        assert!(budget.take(limits::FREE_BYTES).now_or_never().is_some_and(|free| free.is_none()));
        drop(held);
        assert!(budget.take(MAX_FRAME).now_or_never().is_some());
    }
}
