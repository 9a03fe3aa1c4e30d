//! The driver on the real mesh: sockets on loopback, the real clock.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use swarm_model::clock::Clock;
use swarm_model::id::{ClusterId, Incarnation, TaskId};
use swarm_model::node::Role;
use swarm_model::units::Timestamp;
use tokio::time::{Duration, Instant, timeout};

use super::live::{Everybody, LIMIT, Route, sees};
use super::world::node;
use crate::ca::{Identity, NodeKey, Root};
use crate::gossip::{Gossip, GossipConfig, Liveness, StatusKey};
use crate::quic::{Mesh, MeshConfig};
use crate::task::TaskGroup;
use crate::transport::Transport;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const DAY: Duration = Duration::from_secs(86_400);

#[derive(Debug)]
struct Standing;

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        NOW
    }
}

struct Node {
    gossip: Gossip,
    addr: SocketAddr,
    tasks: TaskGroup,
    mesh: Mesh,
}

fn identity(root: &Root, index: usize) -> Identity {
    let key = NodeKey::generate().expect("randomness");
    let request = key.request().expect("signed");
    let certificate = root.issue(&request, node(index), Role::Worker, NOW, DAY).expect("issued");
    Identity::new(key, certificate, root.cert_der().to_vec()).expect("they belong together")
}

fn start(identity: &Identity, index: usize, listen: SocketAddr, life: u128) -> Node {
    let (route, tasks) = (Arc::new(Route::default()), TaskGroup::new());
    let mesh = Mesh::bind(MeshConfig {
        listen,
        identity: identity.clone(),
        members: Arc::new(Everybody),
        handler: route.clone(),
        tasks: tasks.clone(),
        clock: Arc::new(Standing),
    })
    .expect("bound");
    let addr = mesh.local_addr().expect("bound");
    let transport: Arc<dyn Transport> = Arc::new(mesh.clone());
    let incarnation = Incarnation::from_raw(life);
    let seed = u64::try_from(life).expect("small");
    let config = GossipConfig::default();
    let gossip = Gossip::start(config, node(index), incarnation, addr, transport, seed, &tasks);
    route.set(gossip.clone());
    Node { gossip, addr, tasks, mesh }
}

#[tokio::test]
async fn on_the_mesh_a_lost_node_is_noticed_and_its_return_too() {
    let root = Root::create(ClusterId::from_raw(1), NOW).expect("created");
    let identities: Vec<Identity> = (0..3).map(|index| identity(&root, index)).collect();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut nodes: Vec<Node> =
        (0..3).map(|index| start(&identities[index], index, any, 10 + index as u128)).collect();
    let peers: Vec<_> = (0..3).map(|index| (node(index), nodes[index].addr)).collect();
    let began = Instant::now();
    for node in &nodes {
        node.gossip.seed_peers(peers.clone());
    }
    for (observer, peer) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
        sees(&nodes[observer].gossip, peer, Liveness::Alive, None).await;
    }
    println!("all alive after {:?}", began.elapsed());

    let mut reader = nodes[0].gossip.statuses();
    drop(reader.take());
    let key = StatusKey::Task(TaskId::from_raw(5));
    nodes[2].gossip.publish(key, Bytes::from_static(b"running")).expect("small");
    let changed = timeout(LIMIT, reader.changed()).await.expect("in time");
    assert_eq!(changed[0].0, node(2));

    let lost = nodes.pop().expect("three");
    // Not a word to the others: the tasks are dropped, the socket stays.
    lost.tasks.shutdown(Duration::ZERO).await;
    let began = Instant::now();
    sees(&nodes[0].gossip, 2, Liveness::Down, None).await;
    sees(&nodes[1].gossip, 2, Liveness::Down, None).await;
    println!("down after {:?}", began.elapsed());
    let addr = lost.addr;
    drop(lost);

    let again = start(&identities[2], 2, any, 99);
    assert_ne!(again.addr, addr);
    again.gossip.seed_peers(peers);
    let began = Instant::now();
    sees(&nodes[0].gossip, 2, Liveness::Alive, Some(99)).await;
    sees(&nodes[1].gossip, 2, Liveness::Alive, Some(99)).await;
    println!("back after {:?}", began.elapsed());
    nodes.push(again);
    for node in nodes {
        node.mesh.close().await;
        assert_eq!(node.tasks.shutdown(LIMIT).await, [""; 0]);
    }
}
