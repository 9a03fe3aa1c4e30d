//! The agent's end of a session: finds the leader, passes its messages on, tells it what happened.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use swarm_model::assignment::AssignmentMessage;
use swarm_model::id::NodeId;
use swarm_net::frame;
use swarm_net::transport::{CallError, MessageReceiver, MessageSender, MessageStream};
use swarm_raft::Status;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::board::{Board, Urgency};
use crate::dispatch::wire::{REPORTS_PER_MESSAGE, StatusBatch};

/// How long steps on the way wait for company before they are told.
const LINGER: Duration = Duration::from_millis(50);
/// Pause before a session is opened again; doubles up to the maximum while it fails.
const RETRY_MIN: Duration = Duration::from_millis(20);
/// See [`RETRY_MIN`].
const RETRY_MAX: Duration = Duration::from_millis(500);

/// A session that held so long was a good one.
const SETTLED: Duration = Duration::from_secs(1);

/// How a session is opened: over the mesh, or straight to this node's own leader loop.
pub trait OpenSession: Send + Sync + 'static {
    /// Opens a session with `leader`.
    fn open(&self, leader: NodeId) -> BoxFuture<'static, Result<MessageStream, CallError>>;
}

/// Keeps a session with whoever leads, until cancelled.
pub async fn run(
    opener: Arc<dyn OpenSession>,
    mut status: watch::Receiver<Status>,
    board: Arc<Board>,
    inputs: mpsc::Sender<AssignmentMessage>,
    cancel: CancellationToken,
) {
    let keep = async {
        let mut pause = RETRY_MIN;
        loop {
            let known = status.wait_for(|status| status.leader.is_some()).await;
            let Ok(Some(now)) = known.map(|status| status.leader) else { return };
            match opener.open(now).await {
                Ok(stream) => {
                    let opened = Instant::now();
                    board.tell_all();
                    let (up, down) = stream.split();
                    tokio::select! {
                        () = tell(&board, up) => {}
                        () = listen(down, &inputs) => {}
                        _ = status.wait_for(|status| status.leader != Some(now)) => {}
                    }
                    // One that breaks at once is no better than none.
                    pause = match opened.elapsed() >= SETTLED {
                        true => RETRY_MIN,
                        false => (pause * 2).min(RETRY_MAX),
                    };
                }
                Err(error) => {
                    tracing::debug!(peer = %now, %error, "no session with the leader");
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
            tokio::time::sleep(pause).await;
        }
    };
    tokio::select! {
        () = keep => {}
        () = cancel.cancelled() => {}
    }
}

/// Tells the leader what happened, until the session breaks.
async fn tell(board: &Board, mut up: MessageSender) {
    loop {
        match board.urgency() {
            Urgency::Idle => {
                board.changed().await;
                continue;
            }
            Urgency::Soon => linger(board).await,
            Urgency::Now => {}
        }
        let reports = board.take(REPORTS_PER_MESSAGE);
        if up.send(frame::encode(&StatusBatch { reports })).await.is_err() {
            return;
        }
    }
}

/// Waits a little, or until something urgent turns up.
async fn linger(board: &Board) {
    let urgent = async {
        while board.urgency() != Urgency::Now {
            board.changed().await;
        }
    };
    // Out of patience or not: what there is gets told.
    drop(tokio::time::timeout(LINGER, urgent).await);
}

/// Passes the leader's messages on, until the session breaks or skips one.
async fn listen(mut down: MessageReceiver, inputs: &mpsc::Sender<AssignmentMessage>) {
    let mut expected = 1;
    while let Ok(Some(bytes)) = down.recv().await {
        let message: AssignmentMessage = match frame::decode(&bytes) {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(%error, "the leader sent what is no assignment");
                return;
            }
        };
        if message.generation().sequence != expected {
            tracing::warn!(expected, "the leader skipped an assignment message");
            return;
        }
        expected += 1;
        if inputs.send(message).await.is_err() {
            return;
        }
    }
}
