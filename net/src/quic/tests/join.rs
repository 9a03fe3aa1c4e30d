//! Nodes without an identity: the pinned CA, and each way in which joining fails.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use swarm_model::node::Role;

use super::{DAY, NOW, Standing, any_port, identity, node, root};
use crate::Error;
use crate::conformance::LONG;
use crate::frame;
use crate::quic::join_call;
use crate::rpc::RefusalCode;

async fn join(addrs: &[SocketAddr], pin: [u8; 32], body: &'static [u8]) -> Result<Bytes, Error> {
    join_at(addrs, pin, body, Standing::at(NOW)).await
}

async fn join_at(
    addrs: &[SocketAddr],
    pin: [u8; 32],
    body: &'static [u8],
    clock: Standing,
) -> Result<Bytes, Error> {
    join_call(addrs, pin, Bytes::from_static(body), LONG, Arc::new(clock)).await
}

#[tokio::test]
async fn a_stranger_reaches_a_manager_of_the_pinned_cluster_and_no_more() {
    let root = root(1);
    let manager = node(&identity(&root, 1, Role::Manager), any_port());
    let answer = join(&[manager.addr], root.digest(), b"role").await.expect("answered");
    assert_eq!(frame::decode(&answer), Ok(None::<Role>), "it is anonymous");
    let refused = join(&[manager.addr], root.digest(), b"refuse").await.expect_err("refused");
    assert!(matches!(&refused, Error::Refused(why) if why.message.contains("not Join")));
}

#[tokio::test]
async fn a_manager_of_another_cluster_gets_no_secret() {
    let (ours, theirs) = (root(1), root(1));
    let manager = node(&identity(&theirs, 1, Role::Manager), any_port());
    let error = join(&[manager.addr], ours.digest(), b"secret").await.expect_err("not ours");
    assert!(matches!(error, Error::WrongCluster { addr } if addr == manager.addr), "{error}");
}

#[tokio::test]
async fn a_worker_gets_no_secret() {
    let root = root(1);
    let worker = node(&identity(&root, 1, Role::Worker), any_port());
    let error = join(&[worker.addr], root.digest(), b"secret").await.expect_err("a worker");
    assert!(matches!(error, Error::NotManager { .. }), "{error}");
}

#[tokio::test]
async fn a_clock_far_off_is_named() {
    let root = root(1);
    let manager = node(&identity(&root, 1, Role::Manager), any_port());
    let late = Standing::at(NOW.after(2 * DAY));
    let error = join_at(&[manager.addr], root.digest(), b"x", late).await.expect_err("expired");
    assert!(matches!(error, Error::ClockSkew { .. }), "{error}");
}

#[tokio::test]
async fn silent_addresses_are_passed_over_and_named_when_none_answers() {
    let root = root(1);
    let manager = node(&identity(&root, 1, Role::Manager), any_port());
    let silent = std::net::UdpSocket::bind(any_port()).expect("bound");
    let silent = (silent.local_addr().expect("bound"), silent);
    let pin = root.digest();
    let clock = || Arc::new(Standing::at(NOW));
    let deadline = Duration::from_secs(2);
    let addrs = [silent.0, manager.addr];
    let answer = join_call(&addrs, pin, Bytes::from_static(b"x"), deadline, clock()).await;
    assert_eq!(answer.expect("the second answers"), Bytes::from_static(b"x"));
    let deadline = Duration::from_millis(300);
    let none = join_call(&addrs[..1], pin, Bytes::new(), deadline, clock()).await;
    let error = none.expect_err("nobody answers").to_string();
    assert!(error.contains(&silent.0.to_string()), "{error}");
}

#[tokio::test]
async fn a_request_without_an_answer_may_have_been_carried_out() {
    let root = root(1);
    let manager = node(&identity(&root, 1, Role::Manager), any_port());
    let body = Bytes::from_static(b"hang");
    let clock = Arc::new(Standing::at(NOW));
    let deadline = Duration::from_millis(500);
    let error = join_call(&[manager.addr], root.digest(), body, deadline, clock)
        .await
        .expect_err("it hangs");
    let open = matches!(&error, Error::NoAnswer { .. })
        || matches!(&error, Error::Refused(refusal) if refusal.code == RefusalCode::TimedOut);
    assert!(open, "{error}");
}
