//! Peers that restart, move, or are gone.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use swarm_model::node::Role;
use tokio::runtime::Runtime;
use tokio::time::{Instant, timeout};

use super::{any_port, identity, node, root, two};
use crate::ca::Identity;
use crate::conformance::LONG;
use crate::rpc::Method;
use crate::transport::{CallError, Transport};

const BODY: Bytes = Bytes::from_static(b"x");

/// A node in a runtime of its own. Dropped it ends as by a kill: without a word to anyone.
struct Doomed(Option<Runtime>);

impl Drop for Doomed {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

fn doomed(identity: &Identity, listen: SocketAddr) -> (Doomed, SocketAddr) {
    let identity = identity.clone();
    // A runtime cannot be made inside another one.
    let started = thread::spawn(move || {
        let runtime = Runtime::new().expect("a runtime");
        let addr = runtime.block_on(async move {
            let node = node(&identity, listen);
            let addr = node.addr;
            node.tasks.clone().spawn("keep", async move {
                let _kept = node;
                std::future::pending().await
            });
            addr
        });
        (Doomed(Some(runtime)), addr)
    });
    started.join().expect("started")
}

#[tokio::test]
async fn the_call_after_a_peers_restart_succeeds_at_once() {
    let root = root(1);
    let caller = node(&identity(&root, 1, Role::Manager), any_port());
    let peer = identity(&root, 2, Role::Manager);
    let (first, addr) = doomed(&peer, any_port());
    caller.mesh.set_address(peer.node_id(), addr);
    let call = || caller.mesh.call(peer.node_id(), Method::Propose, BODY, LONG);
    call().await.expect("answered");
    let mut stream =
        caller.mesh.open(peer.node_id(), Method::RaftAppend, BODY, LONG).await.expect("admitted");
    drop(first);
    let (_second, again) = restart(&peer, addr).await;
    assert_eq!(addr, again);
    let began = Instant::now();
    assert_eq!(call().await, Ok(BODY));
    assert!(began.elapsed() < Duration::from_secs(4), "took {:?}", began.elapsed());
    // On a slow machine its reset may have come already.
    assert!(matches!(stream.send(BODY).await, Ok(()) | Err(CallError::Closed)));
    let broken = timeout(Duration::from_secs(4), async { while stream.recv().await.is_ok() {} });
    broken.await.expect("the old stream is reset, not left to time out");
}

/// Starts the node again once the killed one has let go of its port.
async fn restart(peer: &Identity, addr: SocketAddr) -> (Doomed, SocketAddr) {
    let deadline = Instant::now() + LONG;
    while std::net::UdpSocket::bind(addr).is_err() {
        assert!(Instant::now() < deadline, "the port stays in use");
        tokio::task::yield_now().await;
    }
    doomed(peer, addr)
}

#[tokio::test]
async fn a_call_to_a_dead_peer_ends_by_its_deadline_and_later_ones_find_it_again() {
    let root = root(1);
    let caller = node(&identity(&root, 1, Role::Manager), any_port());
    let peer = identity(&root, 2, Role::Manager);
    let held = std::net::UdpSocket::bind(any_port()).expect("bound");
    let addr = held.local_addr().expect("bound");
    caller.mesh.set_address(peer.node_id(), addr);
    let began = Instant::now();
    let deadline = Duration::from_millis(100);
    let result = caller.mesh.call(peer.node_id(), Method::Propose, BODY, deadline).await;
    assert!(matches!(&result, Err(CallError::Unreachable { .. })), "{result:?}");
    assert!(!result.expect_err("unreachable").may_have_executed());
    assert!(began.elapsed() < Duration::from_secs(4), "took {:?}", began.elapsed());
    drop(held);
    let peer = node(&peer, addr);
    let began = Instant::now();
    let answer = caller.mesh.call(peer.id, Method::Propose, BODY, LONG).await;
    assert_eq!(answer, Ok(BODY));
    assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
}

#[tokio::test]
async fn a_peer_that_calls_ends_the_wait_for_it() {
    let root = root(1);
    let caller = node(&identity(&root, 1, Role::Manager), any_port());
    let peer = identity(&root, 2, Role::Manager);
    let held = std::net::UdpSocket::bind(any_port()).expect("bound");
    let addr = held.local_addr().expect("bound");
    caller.mesh.set_address(peer.node_id(), addr);
    let waiting = caller.mesh.call(peer.node_id(), Method::Propose, BODY, LONG);
    let comes_up = async {
        // By now the dial's next retransmission is most of a second away.
        tokio::time::sleep(Duration::from_millis(1000)).await;
        drop(held);
        let peer = node(&identity(&root, 2, Role::Manager), addr);
        peer.mesh.set_address(caller.id, caller.addr);
        peer.mesh.call(caller.id, Method::Propose, BODY, LONG).await.expect("answered");
        (peer, Instant::now())
    };
    let (answer, (_peer, called)) = tokio::join!(waiting, comes_up);
    assert_eq!(answer, Ok(BODY));
    assert!(called.elapsed() < Duration::from_millis(900), "took {:?}", called.elapsed());
}

#[tokio::test]
async fn a_changed_address_is_dialed_anew() {
    let root = root(1);
    let caller = node(&identity(&root, 1, Role::Manager), any_port());
    let peer = identity(&root, 2, Role::Manager);
    let old = node(&peer, any_port());
    caller.mesh.set_address(old.id, old.addr);
    let call = || caller.mesh.call(peer.node_id(), Method::Propose, BODY, LONG);
    call().await.expect("answered");
    old.tasks.shutdown(LONG).await;
    let new = node(&peer, any_port());
    caller.mesh.set_address(new.id, new.addr);
    assert_eq!(caller.mesh.address(new.id), Some(new.addr));
    assert_eq!(call().await, Ok(BODY));
}

#[tokio::test]
async fn a_call_on_its_way_to_where_a_peer_was_does_not_wait_for_it() {
    let root = root(1);
    let caller = node(&identity(&root, 1, Role::Manager), any_port());
    let peer = identity(&root, 2, Role::Manager);
    let (old, addr) = doomed(&peer, any_port());
    caller.mesh.set_address(peer.node_id(), addr);
    // Shorter than the silence after which the connection would end by itself.
    let deadline = Duration::from_secs(5);
    let call = || caller.mesh.call(peer.node_id(), Method::Propose, BODY, deadline);
    call().await.expect("answered");
    drop(old);
    let new = node(&peer, any_port());
    let moves = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        caller.mesh.set_address(new.id, new.addr);
    };
    let (answer, ()) = tokio::join!(call(), moves);
    // On a busy machine the call may not have left by then, and goes to where the peer is.
    assert!(matches!(answer, Err(CallError::Closed) | Ok(_)), "{answer:?}");
    assert_eq!(call().await, Ok(BODY));
}

#[tokio::test]
async fn calls_at_once_share_one_dial() {
    let (left, right) = two();
    let calls = (0..50).map(|_| left.mesh.call(right.id, Method::Propose, BODY, LONG));
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer, Ok(BODY));
    }
    assert_eq!(right.tasks.running().get("connection"), Some(&1));
}

#[tokio::test]
async fn a_closed_mesh_tells_its_peers_and_frees_its_port() {
    let (left, right) = two();
    let mut stream = left.mesh.open(right.id, Method::Session, BODY, LONG).await.expect("admitted");
    assert_eq!(stream.recv().await, Ok(Some(BODY)));
    right.mesh.close().await;
    let cut = timeout(Duration::from_secs(4), stream.recv()).await.expect("told at once");
    assert_eq!(cut, Err(CallError::Closed));
    let late = left.mesh.call(right.id, Method::Propose, BODY, Duration::from_millis(300)).await;
    assert!(late.is_err(), "{late:?}");
    let own = right.mesh.call(left.id, Method::Propose, BODY, LONG).await;
    assert!(own.is_err(), "{own:?}");
}

#[tokio::test]
async fn a_closed_mesh_has_given_its_port_back_whatever_lingers_on_it() {
    let (left, right) = two();
    let silent = std::net::UdpSocket::bind(any_port()).expect("a port");
    left.mesh.set_address(right.id, silent.local_addr().expect("bound"));
    let called = left.mesh.call(right.id, Method::Propose, BODY, Duration::from_millis(50)).await;
    // The dial goes on, and would outlive the endpoint by three long guesses of a round trip.
    called.expect_err("nobody answers there");
    left.mesh.close().await;
    std::net::UdpSocket::bind(left.addr).expect("the port is free");
}
