//! The leader's end of a session with one agent: assignments down, statuses up.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use swarm_model::command::Op;
use swarm_model::id::NodeId;
use swarm_model::node::{Node, Reachability};
use swarm_model::units::Timestamp;
use swarm_model::view::View;
use swarm_net::frame;
use swarm_net::transport::{CallError, MessageReceiver, MessageSender, MessageStream};
use tokio::sync::watch;

use super::assignments::AssignmentSet;
use super::pace::Pace;
use super::wire::{Hello, StatusBatch};
use crate::core::Core;
use crate::leader::Leadership;

/// A node that is heard of describes itself anew at most this often.
const CALM: Duration = Duration::from_millis(500);

/// Serves the agent of `node` until its session breaks or this node no longer leads.
pub async fn serve(core: Arc<Core>, node: NodeId, hello: Bytes, stream: MessageStream) {
    let Some(leadership) = core.leadership.borrow().clone() else {
        tracing::debug!(peer = %node, "an agent takes this node for the leader");
        return;
    };
    let session = async {
        if !introduce(&core, node, &hello).await {
            return;
        }
        let (down, up) = stream.split();
        tokio::select! {
            sent = assign(core.consensus.views(), node, &leadership, down) => {
                if let Err(error) = sent {
                    tracing::debug!(peer = %node, %error, "session ended");
                }
            }
            () = collect(node, &leadership, up) => {}
        }
    };
    tokio::select! {
        () = session => {}
        () = leadership.ended.cancelled() => {}
    }
}

/// Records what the agent says of its node.
async fn introduce(core: &Core, node: NodeId, hello: &[u8]) -> bool {
    let hello: Hello = match frame::decode(hello) {
        Ok(hello) => hello,
        Err(error) => {
            tracing::warn!(peer = %node, %error, "an agent's first words make no sense");
            return false;
        }
    };
    if let Ok(addr) = hello.addr.parse() {
        core.transport.set_address(node, addr);
    }
    let view = core.consensus.view();
    if let Some(known) = view.nodes.get(&node) {
        if is_known(known, &hello) {
            return true;
        }
        if is_too_soon(known, core.clock.now()) {
            tracing::debug!(peer = %node, "an agent describes its node too often");
            return false;
        }
    }
    let op = Op::DescribeNode {
        id: node,
        incarnation: hello.incarnation,
        description: hello.description,
        addr: hello.addr,
    };
    match core.consensus.propose(&core.own_command(op)).await {
        Ok(applied) => match applied.outcome {
            Ok(_) => true,
            Err(rejection) => {
                tracing::info!(peer = %node, error = %rejection, "an agent was turned away");
                false
            }
        },
        Err(error) => {
            tracing::debug!(peer = %node, %error, "an agent could not be introduced");
            false
        }
    }
}

/// Whether the record says all of it already: then there is nothing to agree on, however often an agent
/// begins a session.
fn is_known(known: &Node, hello: &Hello) -> bool {
    known.status.incarnation == hello.incarnation
        && known.status.reachability == Reachability::Ready
        && known.status.addr == hello.addr
        && known.description == hello.description
}

/// Whether a node that is heard of has changed its mind just now: it may try again a little later.
fn is_too_soon(known: &Node, now: Timestamp) -> bool {
    let at = known.meta.updated_at;
    // A record from the future was written under another clock.
    known.status.reachability == Reachability::Ready && at <= now && now.since(at) < CALM
}

/// Sends the node's assignments as they change.
async fn assign(
    mut views: watch::Receiver<Arc<View>>,
    node: NodeId,
    leadership: &Leadership,
    mut down: MessageSender,
) -> Result<(), CallError> {
    let mut set = AssignmentSet::new(node, leadership.term);
    let mut view = views.borrow_and_update().clone();
    for message in set.full(&view) {
        down.send(frame::encode(&message)).await?;
    }
    loop {
        let Ok(new) = views.wait_for(|new| concerns(new, &view)).await.map(|new| new.clone())
        else {
            return Ok(());
        };
        view = new;
        for message in set.difference(&view) {
            down.send(frame::encode(&message)).await?;
        }
    }
}

/// Whether the difference between two views can change an assignment.
fn concerns(new: &View, old: &View) -> bool {
    !new.tasks.ptr_eq(&old.tasks)
        || !new.nodes.ptr_eq(&old.nodes)
        || !new.services.ptr_eq(&old.services)
}

/// Hands the agent's reports to the recorder.
async fn collect(node: NodeId, leadership: &Leadership, mut up: MessageReceiver) {
    let mut pace = Pace::new();
    while let Ok(Some(bytes)) = up.recv().await {
        let batch: StatusBatch = match frame::decode(&bytes) {
            Ok(batch) => batch,
            Err(error) => {
                tracing::warn!(peer = %node, %error, "an agent sent what is no status");
                return;
            }
        };
        if let Err(error) = batch.check() {
            tracing::warn!(peer = %node, %error, "an agent sent more than it may");
            return;
        }
        pace.wait(batch.reports.len()).await;
        if leadership.reports.send((node, batch.reports)).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::wire::REPORTS_PER_MESSAGE;
    use swarm_model::assignment::AssignmentMessage;
    use swarm_model::command::StatusReport;
    use swarm_model::id::TaskId;
    use swarm_model::meta::Term;
    use swarm_model::task::TaskStatus;
    use swarm_model::task_state::ObservedState;
    use swarm_model::units::Timestamp;
    use tokio::sync::mpsc;
    use tokio::time::{Instant, sleep, timeout_at};
    use tokio_util::sync::CancellationToken;

    const NODE: NodeId = NodeId::from_raw(1);

    fn leadership() -> (Leadership, mpsc::Receiver<(NodeId, Vec<StatusReport>)>) {
        let (reports, reported) = mpsc::channel(1);
        let (term, ended) = (Term(3), CancellationToken::new());
        let (pleas, _) = mpsc::channel(1);
        let departures = Default::default();
        (Leadership { term, reports, pleas, ended, departures }, reported)
    }

    async fn next(agent: &mut MessageStream) -> AssignmentMessage {
        let bytes = agent.recv().await.expect("whole").expect("open");
        frame::decode(&bytes).expect("an assignment")
    }

    #[tokio::test]
    async fn an_agent_is_told_everything_once_then_what_changes() {
        let (leadership, _reported) = leadership();
        let (views, mut view) = (watch::Sender::<Arc<View>>::default(), View::default());
        view.put_task(crate::dispatch::assignments::testing::task(1, "a"));
        views.send_replace(Arc::new(view.clone()));
        let (leader, mut agent) = MessageStream::pair(4);
        let (down, _up) = leader.split();
        let seen = views.subscribe();
        let sending = assign(seen, NODE, &leadership, down);
        let reading = async {
            let full = next(&mut agent).await;
            assert!(matches!(&full, AssignmentMessage::Full { tasks, .. } if tasks.len() == 1));
            assert_eq!(full.generation().term, Term(3));
            let first = next(&mut agent).await;
            assert!(
                matches!(&first, AssignmentMessage::Delta { changed, .. } if changed.len() == 1)
            );
            view.remove_task(TaskId::from_raw(1));
            views.send_replace(Arc::new(view.clone()));
            let second = next(&mut agent).await;
            assert!(
                matches!(&second, AssignmentMessage::Delta { removed, .. } if removed.len() == 1)
            );
            assert_eq!(second.generation().sequence, 3);
        };
        tokio::select! {
            sent = sending => panic!("ended: {sent:?}"),
            () = reading => {}
        }
    }

    #[tokio::test]
    async fn reports_are_passed_on_until_one_makes_no_sense() {
        let (leadership, mut reported) = leadership();
        let (leader, mut agent) = MessageStream::pair(4);
        let (_down, up) = leader.split();
        let status = TaskStatus::new(ObservedState::Running, Timestamp::default(), "");
        let reports = vec![StatusReport { task: TaskId::from_raw(1), status }];
        agent.send(frame::encode(&StatusBatch { reports: reports.clone() })).await.expect("sent");
        agent.send(Bytes::from_static(b"nonsense")).await.expect("sent");
        collect(NODE, &leadership, up).await;
        assert_eq!(reported.recv().await, Some((NODE, reports)));
        drop(leadership);
        assert_eq!(reported.recv().await, None, "nonsense was passed on");
    }

    /// Sends full batches until `until`; how many were taken off its hands.
    async fn flood(mut agent: MessageSender, until: Instant) -> u64 {
        let status = TaskStatus::new(ObservedState::Running, Timestamp::default(), "");
        let reports = vec![StatusReport { task: TaskId::from_raw(1), status }; REPORTS_PER_MESSAGE];
        let bytes = frame::encode(&StatusBatch { reports });
        let mut sent = 0;
        while let Ok(Ok(())) = timeout_at(until, agent.send(bytes.clone())).await {
            sent += 1;
        }
        sent
    }

    /// 62 of the catalogue: what one agent sends faster than its pace stays in its stream, so that others' reports
    /// go through at once.
    #[tokio::test(start_paused = true)]
    async fn a_flood_of_reports_waits_in_its_stream_and_holds_up_nobody_else() {
        const OTHER: NodeId = NodeId::from_raw(2);
        let (leadership, mut reported) = leadership();
        let ((flooded, flooding), (quiet, other)) =
            (MessageStream::pair(4), MessageStream::pair(4));
        let ((_a, flooded), (flooding, _b)) = (flooded.split(), flooding.split());
        let ((_c, quiet), (mut other, _d)) = (quiet.split(), other.split());
        let seconds = 10;
        let until = Instant::now() + Duration::from_secs(seconds);
        // A leader that records 200 messages a second, whoever sends them.
        let record = async {
            let (mut of_flood, mut of_other) = (0, Vec::new());
            while let Ok(Some((node, reports))) = timeout_at(until, reported.recv()).await {
                match node {
                    NODE => of_flood += reports.len(),
                    _ => of_other.push(Instant::now()),
                }
                sleep(Duration::from_millis(5)).await;
            }
            (of_flood, of_other)
        };
        let now_and_then = async {
            let mut sent = Vec::new();
            let status = TaskStatus::new(ObservedState::Running, Timestamp::default(), "");
            let reports = vec![StatusReport { task: TaskId::from_raw(2), status }];
            let bytes = frame::encode(&StatusBatch { reports });
            for _ in 1..seconds {
                sleep(Duration::from_secs(1)).await;
                sent.push(Instant::now());
                other.send(bytes.clone()).await.expect("open");
            }
            sent
        };
        let collecting = async {
            tokio::join!(collect(NODE, &leadership, flooded), collect(OTHER, &leadership, quiet))
        };
        let (taken, (of_flood, of_other), sent) = tokio::select! {
            _ = collecting => panic!("a session ended"),
            all = async { tokio::join!(flood(flooding, until), record, now_and_then) } => all,
        };
        // A burst of 10,000, then 2,000 a second; a few messages more lie in the stream.
        let most = 10_000 + 2_000 * usize::try_from(seconds).expect("small");
        assert!(of_flood > most / 2, "only {of_flood} reports of the flood were recorded");
        assert!(of_flood <= most, "{of_flood} reports of one agent in {seconds} s");
        assert!(taken <= (most / REPORTS_PER_MESSAGE) as u64 + 6, "{taken} messages were taken");
        assert_eq!(of_other.len(), sent.len(), "reports of a quiet agent are missing");
        for (sent, recorded) in sent.into_iter().zip(of_other) {
            let waited = recorded - sent;
            assert!(waited < Duration::from_millis(100), "a quiet agent waited for {waited:?}");
        }
    }
}
