//! Carries the messages of one direction of a stream: in order, each late by its transit time, many under
//! way at once, and as far as the receiver reads.

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connection::Path;
use crate::transport::{CallError, Carried};

/// Messages that may be under way in one direction.
pub(super) const WINDOW: usize = 64;

/// Moves messages from `source` to `sink` until either ends, the connection closes or a node dies.
/// `lives` are the two nodes'; a dead one's end falls silent, it does not say goodbye.
pub(super) async fn pump(
    path: Path,
    source: mpsc::Receiver<Carried>,
    sink: mpsc::Sender<Carried>,
    lives: [CancellationToken; 2],
) {
    let [sender_life, receiver_life] = lives;
    let (under_way, arriving) = mpsc::channel(WINDOW);
    let moving = async {
        let ((), ended) =
            tokio::join!(depart(&path, source, under_way), arrive(&path, arriving, &sink));
        ended
    };
    let ended = tokio::select! {
        biased;
        () = receiver_life.cancelled() => return,
        () = sender_life.cancelled() => None,
        ended = moving => Some(ended),
    };
    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => {
            // Like a QUIC reset, a break is not held up by what was not read.
            drop(sink.send(Err(error)).await);
        }
        None => {
            tokio::select! {
                () = receiver_life.cancelled() => {}
                () = path.closed.cancelled() => drop(sink.send(Err(CallError::Closed)).await),
            }
        }
    }
}

/// Stamps each message with its time of arrival, never before an earlier one's.
async fn depart(
    path: &Path,
    mut source: mpsc::Receiver<Carried>,
    under_way: mpsc::Sender<(Instant, Bytes)>,
) {
    let mut last = Instant::now();
    loop {
        let message = tokio::select! {
            biased;
            () = path.closed.cancelled() => return,
            () = under_way.closed() => return,
            message = source.recv() => message,
        };
        let Some(Ok(message)) = message else { return };
        last = last.max(Instant::now() + path.transit());
        if under_way.send((last, message)).await.is_err() {
            return;
        }
    }
}

async fn arrive(
    path: &Path,
    mut arriving: mpsc::Receiver<(Instant, Bytes)>,
    sink: &mpsc::Sender<Carried>,
) -> Result<(), CallError> {
    loop {
        let next = tokio::select! {
            biased;
            () = path.closed.cancelled() => return Err(CallError::Closed),
            () = sink.closed() => return Ok(()),
            next = arriving.recv() => next,
        };
        let Some((due, message)) = next else { return finish(path).await };
        path.arrive(due).await?;
        let read = tokio::select! {
            biased;
            () = path.closed.cancelled() => return Err(CallError::Closed),
            read = sink.send(Ok(message)) => read,
        };
        if read.is_err() {
            return Ok(());
        }
    }
}

/// The sender has finished, or its connection has closed.
async fn finish(path: &Path) -> Result<(), CallError> {
    if path.closed.is_cancelled() { Err(CallError::Closed) } else { path.carry().await }
}
