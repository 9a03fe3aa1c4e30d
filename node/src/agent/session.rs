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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Mutex;

    use futures::FutureExt;
    use swarm_model::assignment::Generation;
    use swarm_model::id::TaskId;
    use swarm_model::meta::{Revision, Term};
    use swarm_model::task::TaskStatus;
    use swarm_model::task_state::ObservedState;
    use swarm_model::units::Timestamp;
    use swarm_raft::Part;

    use crate::agent::board::Whisper;

    const LIMIT: Duration = Duration::from_secs(10);

    #[derive(Debug)]
    struct Nobody;

    impl Whisper for Nobody {
        fn publish(&self, _: TaskId, _: &TaskStatus) {}
        fn retract(&self, _: TaskId) {}
    }

    /// Gives the leader's ends of the sessions that are opened.
    struct Leaders(mpsc::Sender<(NodeId, MessageStream)>, Mutex<u32>);

    impl OpenSession for Leaders {
        fn open(&self, leader: NodeId) -> BoxFuture<'static, Result<MessageStream, CallError>> {
            let mut refusals = self.1.lock().expect("unpoisoned");
            if *refusals > 0 {
                *refusals -= 1;
                return async { Err(CallError::Closed) }.boxed();
            }
            let (ours, theirs) = MessageStream::pair(4);
            let opened = self.0.clone();
            async move {
                opened.send((leader, theirs)).await.map_err(|_gone| CallError::Closed)?;
                Ok(ours)
            }
            .boxed()
        }
    }

    struct Bench {
        status: watch::Sender<Status>,
        board: Arc<Board>,
        inputs: mpsc::Receiver<AssignmentMessage>,
        opened: mpsc::Receiver<(NodeId, MessageStream)>,
        cancel: CancellationToken,
    }

    impl Bench {
        async fn opened(&mut self) -> (NodeId, MessageStream) {
            let opened = tokio::time::timeout(LIMIT, self.opened.recv()).await;
            opened.expect("a session in time").expect("the session lives")
        }
    }

    fn led_by(leader: Option<u128>) -> Status {
        Status {
            part: Part::Follower,
            term: Term(1),
            leader: leader.map(NodeId::from_raw),
            last_log: Revision(1),
            applied: Revision(1),
            snapshot: None,
            voters: BTreeSet::new(),
            learners: BTreeSet::new(),
            joint: false,
            lag: BTreeMap::new(),
            quorum_acked: None,
            fault: None,
        }
    }

    fn bench(refusals: u32) -> (Bench, impl Future<Output = ()>) {
        let (sender, opened) = mpsc::channel(4);
        let (inputs, taken) = mpsc::channel(4);
        let status = watch::Sender::new(led_by(Some(1)));
        let board = Arc::new(Board::new(Arc::new(Nobody)));
        let cancel = CancellationToken::new();
        let leaders = Arc::new(Leaders(sender, Mutex::new(refusals)));
        let running = run(leaders, status.subscribe(), board.clone(), inputs, cancel.clone());
        (Bench { status, board, inputs: taken, opened, cancel }, running)
    }

    fn full(sequence: u64) -> bytes::Bytes {
        let generation = Generation { term: Term(1), sequence };
        frame::encode(&AssignmentMessage::Full { generation, tasks: Vec::new() })
    }

    async fn told(leader: &mut MessageStream) -> usize {
        let bytes = tokio::time::timeout(LIMIT, leader.recv()).await.expect("in time");
        let batch: StatusBatch =
            frame::decode(&bytes.expect("whole").expect("open")).expect("statuses");
        batch.reports.len()
    }

    #[tokio::test(start_paused = true)]
    async fn each_new_leader_is_told_everything_and_obeyed() {
        let (mut bench, running) = bench(3);
        let status = TaskStatus::new(ObservedState::Running, Timestamp::default(), "");
        bench.board.post(TaskId::from_raw(1), status);
        let script = async {
            let (who, mut first) = bench.opened().await;
            assert_eq!((who, told(&mut first).await), (NodeId::from_raw(1), 1));
            first.send(full(1)).await.expect("sent");
            assert_eq!(bench.inputs.recv().await.expect("passed on").generation().sequence, 1);
            bench.status.send_replace(led_by(None));
            bench.status.send_replace(led_by(Some(2)));
            let (who, mut second) = bench.opened().await;
            assert_eq!((who, told(&mut second).await), (NodeId::from_raw(2), 1));
            bench.cancel.cancel();
        };
        tokio::join!(running, script);
    }

    #[tokio::test(start_paused = true)]
    async fn a_skipped_message_or_nonsense_ends_the_session() {
        let (mut bench, running) = bench(0);
        let script = async {
            let (_, mut leader) = bench.opened().await;
            leader.send(full(2)).await.expect("sent");
            let (_, mut leader) = bench.opened().await;
            leader.send(bytes::Bytes::from_static(b"nonsense")).await.expect("sent");
            let (_, mut leader) = bench.opened().await;
            leader.send(full(1)).await.expect("sent");
            let only = bench.inputs.recv().await.expect("passed on");
            assert_eq!(only.generation().sequence, 1, "a skipped one was passed on");
            bench.cancel.cancel();
        };
        tokio::join!(running, script);
    }
}
