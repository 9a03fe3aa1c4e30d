//! What every transport must do, as one suite: `conformance!(start_paused, make_pair)`.
//!
//! `make_pair` is an async function that gives a [`Pair`] of fresh nodes. What only one transport does
//! (restarts, certificates, simulated faults) is tested beside it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, pending, ready};
use swarm_model::epoch::Epoch;
use swarm_model::id::NodeId;
use swarm_model::node::Role;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::frame::{self, MAX_FRAME};
use crate::rpc::{Method, Refusal, RefusalCode};
use crate::transport::{
    CallError, Caller, Foreign, Handler, Members, Membership, MessageStream, Peer, Transport,
};

/// More than anything here takes, even on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(200);

/// Two nodes: one calls, the other answers with an [`Echo`].
pub(crate) struct Pair {
    pub(crate) caller: Arc<dyn Transport>,
    pub(crate) caller_id: NodeId,
    pub(crate) callee: Arc<dyn Transport>,
    pub(crate) callee_id: NodeId,
    /// The caller's member list.
    pub(crate) caller_members: List,
    /// The callee's member list.
    pub(crate) members: List,
    /// What the callee got.
    pub(crate) datagrams: mpsc::Receiver<(Peer, Bytes)>,
    /// Whatever must live as long.
    pub(crate) _keep: Box<dyn std::any::Any + Send>,
}

/// A member list in which every node is a manager until told otherwise.
#[derive(Clone, Default)]
pub(crate) struct List(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    members: HashMap<NodeId, Membership>,
    epoch: Option<Epoch>,
    met: Vec<Foreign>,
}

impl List {
    pub(crate) fn set(&self, node: NodeId, membership: Membership) {
        self.0.lock().expect("unpoisoned").members.insert(node, membership);
    }

    fn set_epoch(&self, epoch: Epoch) {
        self.0.lock().expect("unpoisoned").epoch = Some(epoch);
    }

    /// Waits until another epoch was met; the newest such meeting.
    async fn foreign(&self) -> Foreign {
        let look = async {
            loop {
                if let Some(met) = self.0.lock().expect("unpoisoned").met.last() {
                    return *met;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(LONG, look).await.expect("it hears of the other epoch")
    }
}

impl Members for List {
    fn membership(&self, node: NodeId) -> Membership {
        let list = self.0.lock().expect("unpoisoned");
        list.members.get(&node).copied().unwrap_or(Membership::Member(Role::Manager))
    }

    fn epoch(&self) -> Option<Epoch> {
        self.0.lock().expect("unpoisoned").epoch
    }

    fn met(&self, other: Foreign) {
        self.0.lock().expect("unpoisoned").met.push(other);
    }
}

/// Answers `role` with the caller's role, `hang` never, `refuse` with a refusal, the rest with itself.
pub(crate) struct Echo(pub(crate) mpsc::Sender<(Peer, Bytes)>);

impl Handler for Echo {
    fn call(
        &self,
        from: Caller,
        method: Method,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, Refusal>> {
        match &body[..] {
            b"hang" => pending().boxed(),
            b"refuse" => {
                let refusal = Refusal::new(RefusalCode::NotLeader, format!("not {method:?}"));
                ready(Err(refusal.with_detail(Bytes::from_static(b"hint")))).boxed()
            }
            b"role" => {
                let role = match from {
                    Caller::Anonymous { .. } => None,
                    Caller::Node(peer) => Some(peer.role),
                };
                ready(Ok(frame::encode(&role))).boxed()
            }
            _ => ready(Ok(body)).boxed(),
        }
    }

    fn stream(
        &self,
        _from: Peer,
        _method: Method,
        hello: Bytes,
        mut stream: MessageStream,
    ) -> BoxFuture<'static, ()> {
        async move {
            if stream.send(hello).await.is_err() {
                return;
            }
            while let Ok(Some(message)) = stream.recv().await {
                if stream.send(message).await.is_err() {
                    return;
                }
            }
        }
        .boxed()
    }

    fn datagram(&self, from: Peer, payload: Bytes) {
        self.0.try_send((from, payload)).expect("the test reads on");
    }
}

impl Pair {
    async fn call(&self, method: Method, body: &'static [u8]) -> Result<Bytes, CallError> {
        self.caller.call(self.callee_id, method, Bytes::from_static(body), LONG).await
    }

    async fn open(&self) -> MessageStream {
        let hello = Bytes::from_static(b"hello");
        let mut stream = self
            .caller
            .open(self.callee_id, Method::Session, hello.clone(), LONG)
            .await
            .expect("admitted");
        assert_eq!(stream.recv().await, Ok(Some(hello)));
        stream
    }
}

pub(crate) async fn answers(pair: Pair) {
    assert_eq!(pair.call(Method::Propose, b"one").await.as_deref(), Ok(&b"one"[..]));
    assert_eq!(pair.call(Method::RaftVote, b"").await.as_deref(), Ok(&b""[..]));
    let large = Bytes::from(vec![7; Method::Propose.longest_request()]);
    let answer = pair.caller.call(pair.callee_id, Method::Propose, large.clone(), LONG).await;
    assert!(answer == Ok(large), "a message of the full size went wrong");
    assert!(pair.caller.round_trip(pair.callee_id).is_some());
}

pub(crate) async fn refusals(pair: Pair) {
    let refusal = Refusal::new(RefusalCode::NotLeader, "not Propose");
    let refusal = refusal.with_detail(Bytes::from_static(b"hint"));
    assert_eq!(pair.call(Method::Propose, b"refuse").await, Err(CallError::Refused(refusal)));
}

pub(crate) async fn hanging(pair: Pair) {
    let hang = |deadline| {
        pair.caller.call(pair.callee_id, Method::Propose, Bytes::from_static(b"hang"), deadline)
    };
    pair.call(Method::Propose, b"warm").await.expect("connected");
    let (long, short) = (hang(LONG), hang(SHORT));
    let others = async {
        for _ in 0..40 {
            pair.call(Method::Propose, b"x").await.expect("not blocked");
        }
    };
    let began = Instant::now();
    let ((), late) = tokio::select! {
        _ = long => unreachable!("it hangs"),
        done = async { tokio::join!(others, short) } => done,
    };
    // Either side may notice first that the time is over.
    let refused = |refusal: &Refusal| refusal.code == RefusalCode::TimedOut;
    match late {
        Err(CallError::DeadlineExceeded) => {}
        Err(CallError::Refused(refusal)) if refused(&refusal) => {}
        other => panic!("{other:?}"),
    }
    assert!(began.elapsed() < LONG / 2);
}

pub(crate) async fn large_messages(pair: Pair) {
    let large = Bytes::from(vec![0; MAX_FRAME + 1]);
    let (size, limit) = (large.len(), Method::Propose.longest_request());
    let expected = Err(CallError::TooLarge { size, limit });
    let answer = pair.caller.call(pair.callee_id, Method::Propose, large.clone(), LONG).await;
    assert_eq!(answer, expected);
    let mut stream = pair.open().await;
    assert!(matches!(stream.send(large).await, Err(CallError::TooLarge { .. })));
    stream.send(Bytes::from_static(b"on")).await.expect("the stream lives");
    assert_eq!(stream.recv().await, Ok(Some(Bytes::from_static(b"on"))));
}

pub(crate) async fn streams(pair: Pair) {
    let (mut sender, mut receiver) = pair.open().await.split();
    let message = |index: usize| {
        let byte = u8::try_from(index % 251).expect("below 256");
        Bytes::from(vec![byte; (index * 37) % 5000])
    };
    let send = async {
        for index in 0..300 {
            sender.send(message(index)).await.expect("open");
        }
        sender.send(Bytes::from(vec![9; MAX_FRAME])).await.expect("open");
        sender.finish();
    };
    let receive = async {
        for index in 0..300 {
            assert_eq!(receiver.recv().await, Ok(Some(message(index))), "message {index}");
        }
        let last = receiver.recv().await.expect("open").expect("one more");
        assert_eq!(last.len(), MAX_FRAME);
        assert_eq!(receiver.recv().await, Ok(None));
    };
    timeout(LONG, async { tokio::join!(send, receive) }).await.expect("in time");
}

pub(crate) async fn given_up_receives(pair: Pair) {
    let mut stream = pair.open().await;
    assert!(timeout(Duration::from_millis(5), stream.recv()).await.is_err());
    for text in [&b"one"[..], b"two"] {
        stream.send(Bytes::from_static(text)).await.expect("open");
        let received = timeout(LONG, stream.recv()).await.expect("in time");
        assert_eq!(received, Ok(Some(Bytes::from_static(text))));
    }
}

pub(crate) async fn roles(pair: Pair) {
    let role = |answer: Result<Bytes, CallError>| {
        frame::decode::<Option<Role>>(&answer.expect("answered")).expect("a role")
    };
    assert_eq!(role(pair.call(Method::ManagerKeys, b"role").await), Some(Role::Manager));
    pair.members.set(pair.caller_id, Membership::Member(Role::Worker));
    assert_eq!(role(pair.call(Method::Propose, b"role").await), Some(Role::Worker));
    match pair.call(Method::ManagerKeys, b"role").await {
        Err(CallError::Refused(refusal)) => assert_eq!(refusal.code, RefusalCode::NotAllowed),
        other => panic!("{other:?}"),
    }
    let joining = pair.call(Method::Session, b"").await;
    assert!(
        matches!(joining, Err(CallError::Refused(_))),
        "a stream is no unary call: {joining:?}"
    );
}

pub(crate) async fn removal(pair: Pair) {
    pair.caller_members.set_epoch(Epoch::FIRST);
    pair.members.set_epoch(Epoch::FIRST);
    let mut stream = pair.open().await;
    pair.members.set(pair.caller_id, Membership::Removed);
    pair.callee.disconnect(pair.caller_id);
    let cut = timeout(LONG, stream.recv()).await.expect("at once");
    assert!(cut.is_err(), "{cut:?}");
    match pair.call(Method::Propose, b"x").await {
        Err(CallError::Refused(refusal)) => {
            assert_eq!(refusal.removed_in(), Some(Epoch::FIRST));
        }
        other => panic!("{other:?}"),
    }
    let callee = pair.callee.call(pair.caller_id, Method::Propose, Bytes::new(), LONG).await;
    // It must not look as if the callee had been removed.
    assert!(matches!(
        callee,
        Err(CallError::PeerRemoved { .. } | CallError::UnknownAddress { .. })
    ));
}

pub(crate) async fn epochs(pair: Pair) {
    let newer = Epoch::FIRST.next(7);
    pair.caller_members.set_epoch(Epoch::FIRST);
    pair.members.set_epoch(newer);
    let silent = |answer| assert!(matches!(answer, Err(CallError::Unreachable { .. })));
    silent(pair.call(Method::Propose, b"x").await);
    let met = pair.caller_members.foreign().await;
    assert_eq!((met.node, met.epoch, met.left_out), (pair.callee_id, newer, false));
    // The other way round the one that is behind is told, too.
    let last = newer.next(8);
    pair.caller_members.set_epoch(last);
    pair.members.set(pair.caller_id, Membership::Unknown);
    silent(pair.call(Method::Propose, b"x").await);
    let met = pair.members.foreign().await;
    assert_eq!((met.node, met.epoch, met.role), (pair.caller_id, last, Role::Manager));
    pair.members.set_epoch(last);
    pair.call(Method::Propose, b"x").await.expect("one epoch");
}

pub(crate) async fn left_out(pair: Pair) {
    let newer = Epoch::FIRST.next(7);
    pair.caller_members.set_epoch(newer);
    pair.caller_members.set(pair.callee_id, Membership::Removed);
    pair.members.set_epoch(Epoch::FIRST);
    let addr = pair.caller.address(pair.callee_id).expect("it was told");
    pair.caller.knock(pair.callee_id, addr);
    let met = pair.members.foreign().await;
    assert_eq!((met.node, met.epoch, met.left_out), (pair.caller_id, newer, true));
}

pub(crate) async fn rivals(pair: Pair) {
    let (ours, theirs) = (Epoch::FIRST.next(7), Epoch::FIRST.next(8));
    pair.caller_members.set_epoch(ours);
    pair.caller_members.set(pair.callee_id, Membership::Removed);
    pair.members.set_epoch(theirs);
    pair.members.set(pair.caller_id, Membership::Removed);
    let addr = pair.caller.address(pair.callee_id).expect("it was told");
    pair.caller.knock(pair.callee_id, addr);
    let met = pair.caller_members.foreign().await;
    assert_eq!((met.node, met.epoch, met.left_out), (pair.callee_id, theirs, true));
}

pub(crate) async fn left_out_caller(pair: Pair) {
    let newer = Epoch::FIRST.next(7);
    pair.caller_members.set_epoch(Epoch::FIRST);
    pair.members.set_epoch(newer);
    pair.members.set(pair.caller_id, Membership::Removed);
    // Who was left out of another epoch must not take it for a removal from its own.
    match pair.call(Method::RaftVote, b"x").await {
        Err(CallError::Refused(refusal)) => assert_eq!(refusal.removed_in(), Some(newer)),
        other => assert!(matches!(other, Err(CallError::Unreachable { .. })), "{other:?}"),
    }
    let met = pair.caller_members.foreign().await;
    assert_eq!((met.node, met.epoch, met.left_out), (pair.callee_id, newer, true));
}

pub(crate) async fn datagrams(mut pair: Pair) {
    let payload = Bytes::from_static(b"ping");
    pair.caller.datagram(pair.callee_id, payload.clone()).expect("tried");
    let (from, got) = timeout(LONG, pair.datagrams.recv()).await.expect("in time").expect("open");
    assert_eq!((from.node_id, got), (pair.caller_id, payload));
    let large = Bytes::from(vec![0; 70_000]);
    let refused = pair.caller.datagram(pair.callee_id, large);
    assert!(matches!(refused, Err(CallError::TooLarge { .. })), "{refused:?}");
}

pub(crate) async fn unknown_nodes(pair: Pair) {
    let node = NodeId::from_raw(0xdead);
    let expected = CallError::UnknownAddress { node };
    let answer = pair.caller.call(node, Method::Propose, Bytes::new(), LONG).await;
    assert_eq!(answer, Err(expected.clone()));
    assert_eq!(pair.caller.datagram(node, Bytes::new()), Err(expected));
}

/// Makes a test of each duty for the transport whose pairs `$make` gives.
macro_rules! conformance {
    ($paused:tt, $make:expr) => {
        $crate::conformance::conformance! { $paused, $make,
            calls_are_answered: answers,
            refusals_arrive_with_code_and_detail: refusals,
            a_hanging_call_ends_by_its_deadline_and_blocks_no_other: hanging,
            messages_over_the_limit_are_refused_before_they_are_sent: large_messages,
            streams_keep_order_and_bounds_both_ways: streams,
            a_receive_that_was_given_up_loses_nothing: given_up_receives,
            the_member_list_decides_who_may_call_what: roles,
            a_removed_node_is_cut_off_at_once: removal,
            nodes_of_different_epochs_do_not_talk_and_the_older_one_hears_of_it: epochs,
            a_node_that_was_left_out_hears_a_knock: left_out,
            a_node_that_was_left_out_is_told_when_it_calls: left_out_caller,
            rivals_that_left_each_other_out_hear_of_it_by_a_knock: rivals,
            datagrams_arrive_with_their_sender: datagrams,
            calls_to_unknown_nodes_say_so: unknown_nodes,
        }
    };
    ($paused:tt, $make:expr, $($name:ident: $check:ident,)*) => {$(
        #[tokio::test(start_paused = $paused)]
        async fn $name() {
            $crate::conformance::$check($make().await).await;
        }
    )*};
}
pub(crate) use conformance;
