//! The driver on the simulated network: tasks, timers, syncs and readers, on a paused clock.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use swarm_model::id::{Incarnation, NodeId, TaskId};
use swarm_model::node::Role;
use tokio::time::{Duration, timeout};

use super::world::node;
use crate::gossip::{Gossip, GossipConfig, Liveness, StatusKey};
use crate::rpc::{Method, Refusal, RefusalCode};
use crate::sim::Network;
use crate::task::TaskGroup;
use crate::transport::{Caller, Handler, Members, Membership, MessageStream, Peer};

pub(super) const LIMIT: Duration = Duration::from_secs(10);

pub(super) struct Everybody;

impl Members for Everybody {
    fn membership(&self, _node: NodeId) -> Membership {
        Membership::Member(Role::Worker)
    }
}

#[derive(Default)]
pub(super) struct Route(OnceLock<Gossip>);

impl Route {
    pub(super) fn set(&self, gossip: Gossip) {
        self.0.set(gossip).expect("set once");
    }
}

impl Handler for Route {
    fn call(
        &self,
        from: Caller,
        method: Method,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, Refusal>> {
        let gossip = self.0.get().cloned();
        async move {
            match (from, gossip) {
                (Caller::Node(peer), Some(gossip)) if method == Method::GossipSync => {
                    gossip.handle_sync(peer, &body)
                }
                _ => Err(Refusal::new(RefusalCode::Unavailable, "only gossip here")),
            }
        }
        .boxed()
    }

    fn stream(
        &self,
        _from: Peer,
        _method: Method,
        _hello: Bytes,
        _stream: MessageStream,
    ) -> BoxFuture<'static, ()> {
        std::future::ready(()).boxed()
    }

    fn datagram(&self, from: Peer, payload: Bytes) {
        if let Some(gossip) = self.0.get() {
            gossip.handle_datagram(from, &payload);
        }
    }
}

fn start(network: &Network, index: usize, life: u128, tasks: &TaskGroup) -> Gossip {
    let route = Arc::new(Route::default());
    let transport = network.node(node(index), Role::Worker, Arc::new(Everybody), route.clone());
    let addr = network.address(node(index)).expect("just added");
    let incarnation = Incarnation::from_raw(life);
    let config = GossipConfig::default();
    let seed = u64::try_from(life).expect("small");
    let gossip = Gossip::start(config, node(index), incarnation, addr, transport, seed, tasks);
    route.set(gossip.clone());
    gossip
}

fn peers(network: &Network, size: usize) -> Vec<(NodeId, SocketAddr)> {
    let peer = |index| (node(index), network.address(node(index)).expect("was added"));
    (0..size).map(peer).collect()
}

pub(super) async fn sees(gossip: &Gossip, peer: usize, wanted: Liveness, life: Option<u128>) {
    let mut members = gossip.members();
    let seen = members.wait_for(|view| {
        view.get(&node(peer)).is_some_and(|info| {
            info.liveness == wanted
                && life.is_none_or(|life| info.incarnation == Incarnation::from_raw(life))
        })
    });
    timeout(LIMIT, seen).await.expect("in time").expect("gossip runs");
}

#[tokio::test(start_paused = true)]
async fn a_cluster_forms_tells_statuses_loses_a_node_and_takes_it_back() {
    let network = Network::new(3);
    let tasks = TaskGroup::new();
    let lives: Vec<TaskGroup> = (0..3).map(|_| TaskGroup::new()).collect();
    let nodes: Vec<Gossip> =
        (0..3).map(|i| start(&network, i, 10 + i as u128, &lives[i])).collect();
    for gossip in &nodes {
        gossip.seed_peers(peers(&network, 3));
    }
    for (observer, peer) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
        sees(&nodes[observer], peer, Liveness::Alive, None).await;
    }

    let mut reader = nodes[0].statuses();
    drop(reader.take());
    let key = StatusKey::Task(TaskId::from_raw(5));
    nodes[2].publish(key, Bytes::from_static(b"running")).expect("small");
    let changed = timeout(LIMIT, reader.changed()).await.expect("in time");
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0].0, node(2));
    assert_eq!(changed[0].1[&key], Bytes::from_static(b"running"));
    nodes[2].retract(key);
    let changed = timeout(LIMIT, reader.changed()).await.expect("in time");
    assert!(changed[0].1.is_empty());

    network.stop(node(2));
    lives[2].shutdown(Duration::from_secs(1)).await;
    sees(&nodes[0], 2, Liveness::Down, None).await;
    sees(&nodes[1], 2, Liveness::Down, None).await;
    let again = start(&network, 2, 99, &tasks);
    again.seed_peers(peers(&network, 3));
    sees(&nodes[0], 2, Liveness::Alive, Some(99)).await;
    sees(&nodes[1], 2, Liveness::Alive, Some(99)).await;
    sees(&again, 0, Liveness::Alive, None).await;
    for group in lives.iter().chain([&tasks]) {
        assert!(group.shutdown(Duration::from_secs(1)).await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_malformed_sync_is_refused() {
    let network = Network::new(3);
    let tasks = TaskGroup::new();
    let gossip = start(&network, 0, 1, &tasks);
    let peer =
        Peer { node_id: node(1), role: Role::Worker, addr: SocketAddr::from(([1, 1, 1, 1], 1)) };
    let refusal = gossip.handle_sync(peer, b"\x01\xff\xff").expect_err("noise");
    assert_eq!(refusal.code, RefusalCode::Malformed);
}
