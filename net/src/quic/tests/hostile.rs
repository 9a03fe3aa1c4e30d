//! Peers that send what they must not: each is answered or cut, and the node goes on.

use std::time::Duration;

use bytes::Bytes;
use quinn::Connection;
use swarm_model::node::Role;
use tokio::time::timeout;

use super::{Node, identity, node, root, two};
use crate::conformance::LONG;
use crate::frame;
use crate::quic::limits;
use crate::quic::tls;
use crate::rpc::{Lane, Method, Refusal, RefusalCode};
use crate::transport::Transport;

/// A connection of a real member that sends raw bytes.
pub(super) async fn raw(from: &Node, to: &Node, lane: Lane) -> Connection {
    from.mesh.call(to.id, Method::Propose, Bytes::new(), LONG).await.expect("answered");
    let link = from.mesh.shared.pool.link(to.id, lane);
    link.connection(&from.mesh.shared).await.expect("connected")
}

/// Sends `bytes` on a stream of their own and gives the refusal that comes back.
async fn refusal(connection: &Connection, bytes: &[u8]) -> Refusal {
    let (mut to, mut from) = connection.open_bi().await.expect("open");
    to.write_all(bytes).await.expect("open");
    to.finish().expect("open");
    let answer = timeout(LONG, from.read_to_end(1 << 20)).await.expect("in time").expect("answer");
    assert_eq!(answer[0], 1, "not refused");
    frame::decode(&answer[5..]).expect("a refusal")
}

#[tokio::test]
async fn each_malformed_request_is_refused_for_its_reason_and_the_connection_lives() {
    let (left, right) = two();
    let connection = raw(&left, &right, Lane::Rpc).await;
    let propose = Method::Propose.number();
    let vote = Method::RaftVote.number();
    let cases: [(&[u8], RefusalCode); 8] = [
        (&[9, propose, 0, 0, 0, 9, 0, 0, 0, 0], RefusalCode::Version),
        (&[1, 255, 0, 0, 0, 9, 0, 0, 0, 0], RefusalCode::UnknownMethod),
        (&[1, vote, 0, 0, 0, 9, 0, 0, 0, 0], RefusalCode::UnknownMethod),
        (&[1, propose, 0, 0, 0, 9, 255, 255, 255, 255], RefusalCode::TooLarge),
        (&[1, propose, 0, 0, 0, 9, 0, 0, 0, 5, 1, 2], RefusalCode::Malformed),
        (&[1, propose, 0, 0, 0, 9, 0, 0, 0, 0, 7], RefusalCode::Malformed),
        (&[1, propose, 0], RefusalCode::Malformed),
        (&[], RefusalCode::Malformed),
    ];
    for (bytes, code) in cases {
        assert_eq!(refusal(&connection, bytes).await.code, code, "{bytes:?}");
    }
    assert!(connection.close_reason().is_none());
    let body = Bytes::from_static(b"still here");
    let answer = left.mesh.call(right.id, Method::Propose, body.clone(), LONG).await;
    assert_eq!(answer, Ok(body));
}

#[tokio::test]
async fn an_oversized_message_breaks_its_stream_only() {
    let (left, right) = two();
    let connection = raw(&left, &right, Lane::Rpc).await;
    let (mut to, mut from) = connection.open_bi().await.expect("open");
    let session = Method::Session.number();
    to.write_all(&[1, session, 0, 0, 255, 255, 0, 0, 0, 0]).await.expect("open");
    to.write_all(&[255, 255, 255, 255]).await.expect("open");
    // The echo's answer to the hello, then the end: the handler's receive has failed.
    let all = timeout(LONG, from.read_to_end(100)).await.expect("in time").expect("ended");
    assert_eq!(all, [0, 0, 0, 0, 0, 0, 0, 0, 0]);
    left.mesh.call(right.id, Method::Propose, Bytes::new(), LONG).await.expect("still here");
}

#[tokio::test]
async fn a_member_without_certificate_is_not_let_in_and_a_stranger_gets_few_streams() {
    let root = root(1);
    let home = node(&identity(&root, 1, Role::Manager), super::any_port());
    let pinned = |lane: Lane| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(root.cert_der().to_vec().into()).expect("a CA");
        let clock = tls::WallClock(std::sync::Arc::new(home.clock.clone()));
        tls::client(lane, |c| Ok(c.with_root_certificates(roots).with_no_client_auth()), &clock)
            .expect("usable")
    };
    let endpoint = quinn::Endpoint::client(super::any_port()).expect("bound");
    let name = crate::ca::server_name(home.id);
    let dial = |lane| endpoint.connect_with(pinned(lane), home.addr, &name).expect("dialed");
    for lane in [Lane::Rpc, Lane::Raft, Lane::Gossip] {
        let connection = dial(lane).await.expect("TLS alone is content");
        let closed = timeout(LONG, connection.closed()).await.expect("in time");
        assert!(closed.to_string().contains("a certificate is needed"), "{closed}");
    }
    let stranger = dial(Lane::Join).await.expect("anyone may join");
    let propose = [1, Method::Propose.number(), 0, 0, 0, 9, 0, 0, 0, 0];
    assert_eq!(refusal(&stranger, &propose).await.code, RefusalCode::UnknownMethod);
    let mut held = Vec::new();
    for _ in 0..limits::STRANGER_STREAMS {
        let mut stream = stranger.open_bi().await.expect("open");
        stream.0.write_all(&[1]).await.expect("open");
        held.push(stream);
    }
    let more = timeout(Duration::from_millis(100), stranger.open_bi()).await;
    assert!(more.is_err(), "a stranger got a stream too many");
}

#[tokio::test]
async fn a_flood_of_strangers_locks_no_member_out() {
    let root = root(1);
    let home = node(&identity(&root, 1, Role::Manager), super::any_port());
    let member = node(&identity(&root, 2, Role::Manager), super::any_port());
    member.mesh.set_address(home.id, home.addr);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.cert_der().to_vec().into()).expect("a CA");
    let clock = tls::WallClock(std::sync::Arc::new(home.clock.clone()));
    let config = tls::client(
        Lane::Join,
        |config| Ok(config.with_root_certificates(roots).with_no_client_auth()),
        &clock,
    )
    .expect("usable");
    let endpoint = quinn::Endpoint::client(super::any_port()).expect("bound");
    let name = crate::ca::server_name(home.id);
    let strangers: Vec<_> = (0..100)
        .map(|_| endpoint.connect_with(config.clone(), home.addr, &name).expect("dialed"))
        .collect();
    // One handshake among so many may come too late on a busy machine: the next one has its chance.
    let call = async {
        while let Err(_late) = member.mesh.call(home.id, Method::Propose, Bytes::new(), LONG).await
        {
        }
    };
    let (answer, connections) =
        tokio::join!(timeout(LONG, call), futures::future::join_all(strangers));
    answer.expect("the member gets through");
    let open = connections.into_iter().flatten().filter(|c| c.close_reason().is_none());
    // Those that were turned away may not have heard of it yet.
    let mut open: Vec<_> = open.collect();
    let settled = async {
        while open.len() > limits::STRANGERS {
            let closed = futures::future::select_all(open.iter().map(|c| Box::pin(c.closed())));
            let (_, index, _) = closed.await;
            open.swap_remove(index);
        }
    };
    timeout(LONG, settled).await.expect("more strangers than the limit stay");
}

#[tokio::test]
async fn a_request_that_is_long_without_reason_is_refused_before_it_is_read() {
    let (left, right) = two();
    let connection = raw(&left, &right, Lane::Rpc).await;
    let renew = Method::RenewCertificate.number();
    let (mut to, mut from) = connection.open_bi().await.expect("open");
    // One MiB is announced, nothing of it sent.
    to.write_all(&[1, renew, 0, 0, 0, 9, 0, 16, 0, 0]).await.expect("open");
    let answer = timeout(LONG, from.read_to_end(1 << 10)).await.expect("at once").expect("answer");
    let refusal: Refusal = frame::decode(&answer[5..]).expect("a refusal");
    assert_eq!(refusal.code, RefusalCode::TooLarge);
}

#[tokio::test]
async fn a_member_that_announces_much_fills_its_own_budget_and_no_small_call_waits() {
    let (left, right) = two();
    let connection = raw(&left, &right, Lane::Rpc).await;
    let propose = Method::Propose.number();
    let announced = 2 << 20;
    let mut held = Vec::new();
    for _ in 0..3 * limits::MEMBER_BYTES / announced {
        let mut stream = connection.open_bi().await.expect("open");
        stream.0.write_all(&[1, propose, 0, 0, 255, 255, 0, 32, 0, 0]).await.expect("open");
        held.push(stream);
    }
    let body = Bytes::from_static(b"small");
    let answer = left.mesh.call(right.id, Method::Propose, body.clone(), LONG).await;
    assert_eq!(answer, Ok(body.clone()));
    // Other lanes have budgets of their own, and what was taken comes back.
    let vote = left.mesh.call(right.id, Method::RaftVote, body.clone(), LONG).await;
    assert_eq!(vote, Ok(body));
    drop(held);
    let large = Bytes::from(vec![7; announced]);
    let answer = left.mesh.call(right.id, Method::Propose, large.clone(), LONG).await;
    assert!(answer == Ok(large), "the budget did not come back");
}
