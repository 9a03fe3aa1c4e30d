//! Certificates: who is let in, by whom, and until when.

use std::time::Duration;

use bytes::Bytes;
use swarm_model::id::NodeId;
use swarm_model::node::Role;

use super::{DAY, NOW, any_port, identity, node, root, two};
use crate::Error;
use crate::conformance::LONG;
use crate::quic::{Mesh, MeshConfig, expiry};
use crate::rpc::Method;
use crate::transport::{CallError, Membership, Transport};

const BODY: Bytes = Bytes::from_static(b"x");

fn assert_unreachable(result: Result<Bytes, CallError>) {
    assert!(matches!(&result, Err(CallError::Unreachable { .. })), "{result:?}");
}

#[tokio::test]
async fn a_node_of_another_cluster_is_not_let_in() {
    let (ours, theirs) = (root(1), root(2));
    let home = node(&identity(&ours, 1, Role::Manager), any_port());
    let foreign = node(&identity(&theirs, 2, Role::Manager), any_port());
    foreign.mesh.set_address(home.id, home.addr);
    home.mesh.set_address(foreign.id, foreign.addr);
    assert_unreachable(foreign.mesh.call(home.id, Method::Propose, BODY, LONG).await);
    assert_unreachable(home.mesh.call(foreign.id, Method::Propose, BODY, LONG).await);
}

#[tokio::test]
async fn a_forged_ca_of_the_same_cluster_id_is_not_trusted() {
    let home = node(&identity(&root(1), 1, Role::Manager), any_port());
    let forger = node(&identity(&root(1), 2, Role::Manager), any_port());
    forger.mesh.set_address(home.id, home.addr);
    assert_unreachable(forger.mesh.call(home.id, Method::Propose, BODY, LONG).await);
}

#[tokio::test]
async fn another_node_at_the_address_is_not_taken_for_the_peer() {
    let (left, right) = two();
    let someone = NodeId::from_raw(77);
    left.mesh.set_address(someone, right.addr);
    assert_unreachable(left.mesh.call(someone, Method::Propose, BODY, LONG).await);
}

#[tokio::test]
async fn a_copy_of_the_node_itself_is_not_let_in() {
    let root = root(1);
    let own = identity(&root, 1, Role::Manager);
    let (one, copy) = (node(&own, any_port()), node(&own, any_port()));
    copy.mesh.set_address(one.id, one.addr);
    assert_unreachable(copy.mesh.call(one.id, Method::Propose, BODY, LONG).await);
}

#[tokio::test]
async fn the_certificates_role_counts_while_the_member_list_does_not_know_the_node() {
    let root = root(1);
    let callee = node(&identity(&root, 1, Role::Manager), any_port());
    for (raw, role) in [(2, Role::Manager), (3, Role::Worker)] {
        let caller = node(&identity(&root, raw, role), any_port());
        callee.members.set(caller.id, Membership::Unknown);
        caller.mesh.set_address(callee.id, callee.addr);
        let keys = caller.mesh.call(callee.id, Method::ManagerKeys, BODY, LONG).await;
        assert_eq!(keys.is_ok(), role == Role::Manager, "{keys:?}");
    }
}

#[tokio::test]
async fn a_node_that_this_one_knows_as_removed_is_not_even_dialed() {
    let (left, right) = two();
    left.members.set(right.id, Membership::Removed);
    for result in [
        left.mesh.call(right.id, Method::Propose, BODY, LONG).await.map(drop),
        left.mesh.datagram(right.id, BODY),
    ] {
        assert_eq!(result, Err(CallError::PeerRemoved { node: right.id }));
    }
}

#[tokio::test]
async fn an_expired_certificate_is_refused_until_it_is_renewed() {
    let root = root(1);
    let own = identity(&root, 1, Role::Manager);
    let caller = node(&own, any_port());
    let request = own.key().request().expect("signed");
    let peer = identity(&root, 2, Role::Manager);
    let fresh = peer.key().request().expect("signed");
    let renew = |request: &[u8], node| {
        root.issue(request, node, Role::Manager, NOW.after(DAY), DAY).expect("issued")
    };
    let callee = node(&peer.renewed(renew(&fresh, peer.node_id())).expect("ours"), any_port());
    caller.mesh.set_address(callee.id, callee.addr);
    let later = NOW.after(DAY + Duration::from_secs(60));
    caller.clock.set(later);
    callee.clock.set(later);
    let call = || caller.mesh.call(callee.id, Method::Propose, BODY, LONG);
    assert_unreachable(call().await);
    let renewed = own.renewed(renew(&request, own.node_id())).expect("ours");
    caller.mesh.set_identity(&renewed).expect("usable");
    assert_eq!(call().await, Ok(BODY));
    assert!(caller.mesh.set_identity(&peer).is_err(), "another node's identity");
}

#[tokio::test]
async fn a_connection_ends_with_the_certificate_of_its_peer() {
    let (left, right) = two();
    let mut session = left.mesh.open(right.id, Method::Session, BODY, LONG).await.expect("open");
    assert_eq!(session.recv().await, Ok(Some(BODY)));
    // A call on the live connection is refused at once.
    right.clock.set(NOW.after(DAY + Duration::from_secs(60)));
    let called = left.mesh.call(right.id, Method::Propose, BODY, LONG).await;
    assert!(called.is_err(), "{called:?}");
    assert!(session.recv().await.is_err(), "the stream went on");
}

#[tokio::test]
async fn a_quiet_stream_ends_with_the_certificate_of_either_side() {
    for at_the_callee in [true, false] {
        let (left, right) = two();
        let mut session =
            left.mesh.open(right.id, Method::Session, BODY, LONG).await.expect("open");
        assert_eq!(session.recv().await, Ok(Some(BODY)));
        let side = if at_the_callee { &right } else { &left };
        expiry::sweep(&side.mesh.shared);
        session.send(BODY).await.expect("the certificate is still good");
        assert_eq!(session.recv().await, Ok(Some(BODY)));
        side.clock.set(NOW.after(DAY + Duration::from_secs(60)));
        expiry::sweep(&side.mesh.shared);
        assert!(session.recv().await.is_err(), "the stream went on");
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_before_the_old_one_expires() {
    let root = root(1);
    let own = identity(&root, 1, Role::Manager);
    let (caller, callee) =
        (node(&own, any_port()), node(&identity(&root, 2, Role::Manager), any_port()));
    caller.mesh.set_address(callee.id, callee.addr);
    let call = || caller.mesh.call(callee.id, Method::Propose, BODY, LONG);
    assert_eq!(call().await, Ok(BODY));
    let request = own.key().request().expect("signed");
    let later = NOW.after(DAY / 2);
    let fresh = root.issue(&request, own.node_id(), Role::Manager, later, DAY).expect("issued");
    caller.clock.set(later);
    callee.clock.set(later);
    caller.mesh.set_identity(&own.renewed(fresh).expect("ours")).expect("usable");
    assert_eq!(call().await, Ok(BODY));
    let live = caller.mesh.shared.pool.all();
    let [connection] = &live[..] else { panic!("{} connections", live.len()) };
    // Only the callee's view of time moves: the caller's old certificate is over, its new one is not.
    callee.clock.set(NOW.after(DAY + Duration::from_secs(60)));
    expiry::sweep(&callee.mesh.shared);
    assert_eq!(call().await, Ok(BODY));
    assert!(connection.close_reason().is_none(), "it was closed all the same");
}

#[tokio::test]
async fn a_port_in_use_and_a_foreign_address_have_their_own_errors() {
    let root = root(1);
    let own = identity(&root, 1, Role::Manager);
    let first = node(&own, any_port());
    let bind = |listen| {
        Mesh::bind(MeshConfig {
            listen,
            identity: own.clone(),
            members: std::sync::Arc::new(first.members.clone()),
            handler: std::sync::Arc::new(crate::transport::LateHandler::new()),
            tasks: first.tasks.clone(),
            clock: std::sync::Arc::new(first.clock.clone()),
        })
    };
    let taken = bind(first.addr).expect_err("in use");
    assert!(matches!(taken, Error::PortInUse { addr } if addr == first.addr), "{taken}");
    let foreign = bind(([192, 0, 2, 1], 0).into()).expect_err("not ours");
    assert!(matches!(foreign, Error::AddressUnavailable { .. }), "{foreign}");
}
