//! Merges streams that are each in order of time into one.
//!
//! Exact for streams that end. A live stream that is silent would hold all others back for ever, so
//! the others wait for it at most a window of time.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{BoxStream, Stream};
use swarm_model::units::Timestamp;
use tokio::time::{Sleep, sleep};

struct Lane<T> {
    /// `None` once it has ended.
    stream: Option<BoxStream<'static, T>>,
    head: Option<T>,
    /// It was waited for in vain: not again until it has given something.
    late: bool,
}

/// The merged stream; see [`merge_by_time`].
struct Merge<T, K> {
    lanes: Vec<Lane<T>>,
    key: K,
    window: Duration,
    /// Runs while heads wait for a silent lane.
    patience: Option<Pin<Box<Sleep>>>,
}

/// Merges `streams` by the time that `key` tells, the first of them first among equals. Items of
/// one stream keep their order. A stream that falls silent holds the others back for `window`, once.
pub fn merge_by_time<T, K>(
    streams: Vec<BoxStream<'static, T>>,
    window: Duration,
    key: K,
) -> BoxStream<'static, T>
where
    T: Send + Unpin + 'static,
    K: Fn(&T) -> Timestamp + Send + Unpin + 'static,
{
    let lanes =
        streams.into_iter().map(|stream| Lane { stream: Some(stream), head: None, late: false });
    Box::pin(Merge { lanes: lanes.collect(), key, window, patience: None })
}

impl<T, K> Stream for Merge<T, K>
where
    T: Unpin,
    K: Fn(&T) -> Timestamp + Unpin,
{
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let this = &mut *self;
        let mut pending = false;
        for lane in this.lanes.iter_mut().filter(|lane| lane.head.is_none()) {
            let Some(stream) = lane.stream.as_mut() else { continue };
            match stream.as_mut().poll_next(context) {
                Poll::Ready(Some(item)) => (lane.head, lane.late) = (Some(item), false),
                Poll::Ready(None) => lane.stream = None,
                Poll::Pending => pending = true,
            }
        }
        if this.lanes.iter().all(|lane| lane.head.is_none()) {
            this.patience = None;
            return if pending { Poll::Pending } else { Poll::Ready(None) };
        }
        let waits = |lane: &Lane<T>| lane.head.is_none() && lane.stream.is_some() && !lane.late;
        if this.lanes.iter().any(waits) {
            let window = this.window;
            let patience = this.patience.get_or_insert_with(|| Box::pin(sleep(window)));
            if patience.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            this.lanes.iter_mut().for_each(|lane| lane.late |= lane.head.is_none());
        }
        this.patience = None;
        let key = &this.key;
        let heads = this.lanes.iter_mut().filter(|lane| lane.head.is_some());
        let first = heads.min_by_key(|lane| lane.head.as_ref().map(key));
        Poll::Ready(first.and_then(|lane| lane.head.take()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream::{self, StreamExt};
    use proptest::prelude::*;
    use tokio::time::Instant;

    fn stamped(times: Vec<u64>) -> BoxStream<'static, u64> {
        stream::iter(times).boxed()
    }

    proptest! {
        #[test]
        fn merged_streams_that_end_are_in_order_and_complete(
            mut inputs in proptest::collection::vec(proptest::collection::vec(0u64..50, 0..20), 0..5),
        ) {
            inputs.iter_mut().for_each(|times| times.sort_unstable());
            let mut expect: Vec<u64> = inputs.iter().flatten().copied().collect();
            expect.sort_unstable();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let got: Vec<u64> = runtime.block_on(
                merge_by_time(
                    inputs.into_iter().map(stamped).collect(),
                    Duration::from_secs(1),
                    |millis| Timestamp::from_millis(*millis),
                )
                .collect(),
            );
            prop_assert_eq!(got, expect);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_holds_the_others_back_for_one_window_only() {
        let window = Duration::from_millis(200);
        let streams = vec![stamped(vec![1, 2]), stream::pending().boxed()];
        let begin = Instant::now();
        let mut merged = merge_by_time(streams, window, |millis| Timestamp::from_millis(*millis));
        assert_eq!(merged.next().await, Some(1));
        assert_eq!(merged.next().await, Some(2));
        assert_eq!(begin.elapsed(), window);
    }
}
