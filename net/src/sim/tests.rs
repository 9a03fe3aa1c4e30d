//! The simulated network does what it says, and the same again with the same seed.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use swarm_model::id::NodeId;
use swarm_model::node::Role;
use tokio::sync::mpsc;
use tokio::time::{Duration, sleep, timeout};

use super::state::IDLE_TIMEOUT;
use super::{Link, Network};
use crate::conformance::{Echo, List, Pair, conformance};
use crate::rpc::{Lane, Method, Refusal, RefusalCode};
use crate::transport::{
    CallError, Caller, Handler, Members, Membership, MessageStream, Peer, Transport,
};

const A: NodeId = NodeId::from_raw(1);
const B: NodeId = NodeId::from_raw(2);
const SECOND: Duration = Duration::from_secs(1);

/// Everybody is what its certificate says, but for one that was removed.
#[derive(Default)]
struct Book {
    removed: Mutex<Option<NodeId>>,
}

impl Members for Book {
    fn membership(&self, node: NodeId) -> Membership {
        let removed = *self.removed.lock().expect("not poisoned");
        if removed == Some(node) { Membership::Removed } else { Membership::Unknown }
    }
}

/// Answers calls with their body, echoes streams, notes datagrams.
#[derive(Default)]
struct Mirror {
    datagrams: Mutex<Vec<(NodeId, Bytes)>>,
}

impl Handler for Mirror {
    fn call(
        &self,
        _from: Caller,
        method: Method,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, Refusal>> {
        async move {
            if method == Method::Leave {
                sleep(Duration::from_secs(3600)).await;
            }
            Ok(body)
        }
        .boxed()
    }

    fn stream(
        &self,
        _from: Peer,
        _method: Method,
        hello: Bytes,
        mut stream: MessageStream,
    ) -> BoxFuture<'static, ()> {
        async move {
            drop(stream.send(hello).await);
            while let Ok(Some(message)) = stream.recv().await {
                if stream.send(message).await.is_err() {
                    return;
                }
            }
        }
        .boxed()
    }

    fn datagram(&self, from: Peer, payload: Bytes) {
        self.datagrams.lock().expect("not poisoned").push((from.node_id, payload));
    }
}

struct Two {
    network: Network,
    a: Arc<dyn Transport>,
    b: Arc<dyn Transport>,
    echo: Arc<Mirror>,
    list: Arc<Book>,
}

fn two(seed: u64) -> Two {
    let network = Network::new(seed);
    let (echo, list) = (Arc::new(Mirror::default()), Arc::new(Book::default()));
    let a = network.node(A, Role::Worker, list.clone(), echo.clone());
    let b = network.node(B, Role::Manager, list.clone(), echo.clone());
    for (from, to) in [(&a, B), (&b, A)] {
        from.set_address(to, network.address(to).expect("it was added"));
    }
    Two { network, a, b, echo, list }
}

#[expect(clippy::unused_async, reason = "the suite makes its pairs asynchronously")]
async fn suite_pair() -> Pair {
    let network = Network::new(1);
    let (members, caller_members) = (List::default(), List::default());
    let (tell, datagrams) = mpsc::channel(100);
    let echo = Arc::new(Echo(tell));
    let caller = network.node(A, Role::Manager, Arc::new(caller_members.clone()), echo.clone());
    let callee = network.node(B, Role::Manager, Arc::new(members.clone()), echo);
    caller.set_address(B, network.address(B).expect("it was added"));
    let (caller_id, callee_id, _keep) = (A, B, Box::new(network));
    Pair { caller, caller_id, callee, callee_id, caller_members, members, datagrams, _keep }
}

conformance!(true, suite_pair);

fn body() -> Bytes {
    Bytes::from_static(b"body")
}

async fn call(from: &Arc<dyn Transport>, to: NodeId) -> Result<Bytes, CallError> {
    from.call(to, Method::NodeStatus, body(), SECOND).await
}

#[tokio::test(start_paused = true)]
async fn calls_are_answered_and_streams_keep_their_order() {
    let Two { network, a, .. } = two(1);
    network.set_default_link(Link { jitter: Duration::from_millis(50), loss: 0.3, ..Link::LAN });
    assert_eq!(a.call(B, Method::NodeStatus, body(), 60 * SECOND).await, Ok(body()));
    let mut stream = a.open(B, Method::Session, body(), 60 * SECOND).await.expect("open");
    assert_eq!(stream.recv().await, Ok(Some(body())));
    for index in 0..100u8 {
        stream.send(Bytes::from(vec![index])).await.expect("open");
    }
    for index in 0..100u8 {
        assert_eq!(stream.recv().await, Ok(Some(Bytes::from(vec![index]))));
    }
    stream.finish();
    assert_eq!(stream.recv().await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn roles_and_removals_are_enforced_as_on_the_wire() {
    let Two { a, b, list, .. } = two(1);
    let keys = |from: &Arc<dyn Transport>, to| from.call(to, Method::ManagerKeys, body(), SECOND);
    let refused = keys(&a, B).await.expect_err("a is a worker");
    assert!(matches!(refused, CallError::Refused(Refusal { code: RefusalCode::NotAllowed, .. })));
    assert_eq!(keys(&b, A).await, Ok(body()));
    *list.removed.lock().expect("not poisoned") = Some(A);
    let refused = call(&a, B).await.expect_err("a was removed");
    assert!(matches!(refused, CallError::Refused(Refusal { code: RefusalCode::Removed, .. })));
    assert_eq!(call(&b, A).await, Err(CallError::PeerRemoved { node: A }));
}

#[tokio::test(start_paused = true)]
async fn a_cut_link_is_silence_and_says_whether_anything_was_sent() {
    let Two { network, a, b, .. } = two(1);
    network.cut(A, B);
    assert!(matches!(call(&a, B).await, Err(CallError::Unreachable { .. })));
    network.heal(A, B);
    assert_eq!(call(&a, B).await, Ok(body()));
    network.cut(B, A);
    assert_eq!(call(&a, B).await, Err(CallError::DeadlineExceeded));
    assert!(matches!(call(&b, A).await, Err(CallError::Unreachable { .. })));
    network.heal_all();
    assert_eq!(call(&a, B).await, Ok(body()));
}

#[tokio::test(start_paused = true)]
async fn a_cut_lane_leaves_the_others_alone() {
    let Two { network, a, .. } = two(1);
    let ask = |method| a.call(B, method, body(), SECOND);
    let raft = Lane::Raft;
    assert_eq!(Method::RaftVote.rule().lane, raft);
    assert_eq!(ask(Method::RaftVote).await, Ok(body()));
    network.cut_lanes(B, A, &[raft]);
    assert_eq!(ask(Method::RaftVote).await, Err(CallError::DeadlineExceeded));
    assert_eq!(ask(Method::Propose).await, Ok(body()));
    sleep(2 * IDLE_TIMEOUT).await;
    assert!(matches!(ask(Method::RaftVote).await, Err(CallError::Unreachable { .. })));
    assert_eq!(ask(Method::Propose).await, Ok(body()));
    network.heal_all();
    assert_eq!(ask(Method::RaftVote).await, Ok(body()));
}

#[tokio::test(start_paused = true)]
async fn a_stream_survives_a_short_cut_and_breaks_after_the_idle_time_out() {
    let Two { network, a, .. } = two(1);
    let mut stream = a.open(B, Method::Session, body(), SECOND).await.expect("open");
    assert_eq!(stream.recv().await, Ok(Some(body())));
    network.partition(&[&[A], &[B]]);
    stream.send(body()).await.expect("buffered");
    sleep(IDLE_TIMEOUT / 2).await;
    network.heal_all();
    assert_eq!(stream.recv().await, Ok(Some(body())));
    network.partition(&[&[A], &[B]]);
    stream.send(body()).await.expect("buffered");
    let broken = timeout(2 * IDLE_TIMEOUT, stream.recv()).await.expect("in time");
    assert_eq!(broken, Err(CallError::Closed));
    network.heal_all();
    assert_eq!(call(&a, B).await, Ok(body()));
}

#[tokio::test(start_paused = true)]
async fn a_killed_node_is_silent_until_its_restart_resets_its_connections() {
    let Two { network, a, echo, list, .. } = two(1);
    let mut stream = a.open(B, Method::Session, body(), SECOND).await.expect("open");
    assert_eq!(stream.recv().await, Ok(Some(body())));
    network.stop(B);
    assert!(timeout(SECOND, stream.recv()).await.is_err(), "nobody says goodbye");
    assert_eq!(a.call(B, Method::Session, body(), SECOND).await, Err(CallError::DeadlineExceeded));
    let restarted = network.node(B, Role::Manager, list, echo);
    assert_eq!(stream.recv().await, Err(CallError::Closed));
    assert_eq!(call(&a, B).await, Ok(body()));
    assert!(matches!(call(&restarted, A).await, Err(CallError::UnknownAddress { .. })));
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_stopped_node_end_at_once() {
    let Two { network, a, .. } = two(1);
    let under_way = a.call(B, Method::Leave, body(), 60 * SECOND);
    let stop = async {
        sleep(SECOND).await;
        network.stop(A);
    };
    let (ended, ()) = tokio::join!(under_way, stop);
    assert_eq!(ended, Err(CallError::Closed));
}

#[tokio::test(start_paused = true)]
async fn disconnecting_closes_streams_at_both_ends() {
    let Two { a, b, .. } = two(1);
    let mut stream = a.open(B, Method::Session, body(), SECOND).await.expect("open");
    assert_eq!(stream.recv().await, Ok(Some(body())));
    b.disconnect(A);
    assert_eq!(stream.recv().await, Err(CallError::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_moved_is_found_at_its_new_address_only() {
    let Two { network, a, .. } = two(1);
    assert_eq!(call(&a, B).await, Ok(body()));
    let addr = network.readdress(B).expect("it was added");
    assert!(matches!(call(&a, B).await, Err(CallError::Unreachable { .. })));
    a.set_address(B, addr);
    assert_eq!(call(&a, B).await, Ok(body()));
}

/// The datagrams that arrive out of 100, in their order.
async fn arrivals(seed: u64) -> Vec<u8> {
    let Two { network, a, echo, .. } = two(seed);
    let link = Link { loss: 0.2, jitter: Duration::from_millis(5), ..Link::LAN };
    network.set_default_link(link);
    for index in 0..100u8 {
        a.datagram(B, Bytes::from(vec![index])).expect("small");
    }
    sleep(SECOND).await;
    let datagrams = echo.datagrams.lock().expect("not poisoned");
    assert!(datagrams.iter().all(|(from, _)| *from == A));
    datagrams.iter().map(|(_, payload)| payload[0]).collect()
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_loses_and_reorders_the_same_datagrams() {
    let first = arrivals(7).await;
    assert_eq!(first, arrivals(7).await);
    assert_ne!(first, arrivals(8).await);
    assert!((60..100).contains(&first.len()), "{} of 100 arrived", first.len());
    assert!(!first.is_sorted(), "jitter lets datagrams overtake each other");
}
