//! The mesh over real sockets on loopback addresses: the common suite, and what only QUIC does.

mod admission;
mod hostile;
mod join;
mod reconnect;
mod trickle;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use swarm_model::clock::Clock;
use swarm_model::id::{ClusterId, NodeId};
use swarm_model::node::Role;
use swarm_model::units::Timestamp;
use tokio::sync::mpsc;

use super::{Mesh, MeshConfig};
use crate::ca::{Identity, NodeKey, Root};
use crate::conformance::{Echo, List, Pair, conformance};
use crate::task::TaskGroup;
use crate::transport::{Peer, Transport};

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// A wall clock that stands, and can be set.
#[derive(Debug, Clone)]
pub(super) struct Standing(Arc<AtomicU64>);

impl Standing {
    pub(super) fn at(moment: Timestamp) -> Self {
        Self(Arc::new(AtomicU64::new(moment.as_millis())))
    }

    pub(super) fn set(&self, moment: Timestamp) {
        self.0.store(moment.as_millis(), Ordering::Relaxed);
    }
}

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::Relaxed))
    }
}

pub(super) fn root(cluster: u128) -> Root {
    Root::create(ClusterId::from_raw(cluster), NOW).expect("created")
}

pub(super) fn identity(root: &Root, node: u128, role: Role) -> Identity {
    let key = NodeKey::generate().expect("randomness");
    let request = key.request().expect("signed");
    let certificate = root.issue(&request, NodeId::from_raw(node), role, NOW, DAY).expect("issued");
    Identity::new(key, certificate, root.cert_der().to_vec()).expect("they belong together")
}

/// One node on a port of its own.
pub(super) struct Node {
    pub(super) mesh: Mesh,
    pub(super) id: NodeId,
    pub(super) addr: SocketAddr,
    pub(super) members: List,
    pub(super) clock: Standing,
    pub(super) tasks: TaskGroup,
    pub(super) datagrams: mpsc::Receiver<(Peer, bytes::Bytes)>,
}

pub(super) fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(super) fn node(identity: &Identity, listen: SocketAddr) -> Node {
    let (tell, datagrams) = mpsc::channel(100);
    let (members, clock, tasks) = (List::default(), Standing::at(NOW), TaskGroup::new());
    let mesh = Mesh::bind(MeshConfig {
        listen,
        identity: identity.clone(),
        members: Arc::new(members.clone()),
        handler: Arc::new(Echo(tell)),
        tasks: tasks.clone(),
        clock: Arc::new(clock.clone()),
    })
    .expect("bound");
    let addr = mesh.local_addr().expect("bound");
    Node { id: identity.node_id(), mesh, addr, members, clock, tasks, datagrams }
}

/// Two managers of one cluster; the first knows the second's address.
pub(super) fn two() -> (Node, Node) {
    let root = root(1);
    let left = node(&identity(&root, 1, Role::Manager), any_port());
    let right = node(&identity(&root, 2, Role::Manager), any_port());
    left.mesh.set_address(right.id, right.addr);
    (left, right)
}

#[expect(clippy::unused_async, reason = "the suite makes its pairs asynchronously")]
async fn pair() -> Pair {
    let (left, right) = two();
    Pair {
        caller: Arc::new(left.mesh.clone()),
        caller_id: left.id,
        callee: Arc::new(right.mesh.clone()),
        callee_id: right.id,
        caller_members: left.members,
        members: right.members,
        datagrams: right.datagrams,
        _keep: Box::new((left.tasks, left.datagrams, right.tasks)),
    }
}

conformance!(false, pair);
