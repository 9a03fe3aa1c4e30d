//! A member that sends garbage, and strangers that do: refused, and the node goes on.
//!
//! Frames that our own transport refuses to send are net's tests.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::Value;
use swarm_chaos::real::{Cluster, spec, wait_until};
use swarm_model::id::NodeId;
use swarm_net::ca::Identity;
use swarm_net::quic::{Mesh, MeshConfig};
use swarm_net::rpc::{Kind, Lane, Method, Refusal, RefusalCode};
use swarm_net::task::TaskGroup;
use swarm_net::transport::{
    CallError, Caller, Handler, Members, Membership, MessageStream, Peer, Transport as _,
};
use swarm_node::api::types::Written;
use swarm_node::clock::SystemClock;

use crate::support::alive;

const SEED: u64 = 0xbad;
const PATIENCE: Duration = Duration::from_secs(5);

/// Knows nobody and answers nothing.
#[derive(Debug)]
struct Rude;

impl Members for Rude {
    fn membership(&self, _node: NodeId) -> Membership {
        Membership::Unknown
    }
}

impl Handler for Rude {
    fn call(
        &self,
        _from: Caller,
        _method: Method,
        _body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, Refusal>> {
        futures::future::pending().boxed()
    }

    fn stream(
        &self,
        _from: Peer,
        _method: Method,
        _hello: Bytes,
        _stream: MessageStream,
    ) -> BoxFuture<'static, ()> {
        futures::future::ready(()).boxed()
    }

    fn datagram(&self, _from: Peer, _payload: Bytes) {}
}

fn garbage(random: &mut StdRng, most: usize) -> Bytes {
    let mut bytes = vec![0; random.next_u32() as usize % most];
    random.fill_bytes(&mut bytes);
    // Half of it looks like a frame of ours at first.
    if bytes.len().is_multiple_of(2)
        && let Some(first) = bytes.first_mut()
    {
        *first = swarm_net::frame::FORMAT;
    }
    bytes.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_of_a_member_is_refused_and_the_cluster_goes_on() -> Result<()> {
    let mut cluster = Cluster::start(3, 0).await?;
    let victim = cluster.leader().await?;
    let rude = (victim + 1) % 3;
    let to = cluster.node(victim).info().await?.node_id;
    let victim_addr = cluster.nodes()[victim].addr;
    // We are that member now: its certificate, its address.
    cluster.node(rude).stop().await?;
    let node = &cluster.nodes()[rude];
    let tasks = TaskGroup::new();
    let mesh = Mesh::bind(MeshConfig {
        listen: node.addr,
        identity: Identity::load(&node.dir)?,
        members: Arc::new(Rude),
        handler: Arc::new(Rude),
        tasks: tasks.clone(),
        clock: Arc::new(SystemClock),
    })?;
    mesh.set_address(to, victim_addr);
    let mut random = StdRng::seed_from_u64(SEED);
    let mut malformed = 0;
    for _ in 0..20 {
        for &method in Method::ALL.iter().filter(|it| it.rule().lane != Lane::Join) {
            let body = garbage(&mut random, 4096);
            if method.rule().kind == Kind::Unary {
                // Leaving needs no words: an empty body is a request, not garbage.
                if method == Method::Leave {
                    continue;
                }
                if let Err(CallError::Refused(refusal)) =
                    mesh.call(to, method, body, PATIENCE).await
                {
                    malformed += usize::from(refusal.code == RefusalCode::Malformed);
                }
            } else if let Ok(mut stream) = mesh.open(to, method, body, PATIENCE).await {
                // The other side may have hung up already.
                stream.send(garbage(&mut random, 4096)).await.ok();
            }
        }
        mesh.datagram(to, garbage(&mut random, 1000)).ok();
    }
    ensure!(malformed > 0, "nothing was refused as malformed: was anything sent? seed {SEED}");
    mesh.close().await;
    tasks.shutdown(PATIENCE).await;
    // Its port has to be free for the real one.
    drop(mesh);
    let port = cluster.nodes()[rude].addr;
    wait_until("the port is free", PATIENCE, async || UdpSocket::bind(port).ok().map(drop)).await?;

    // Strangers too.
    let stranger = UdpSocket::bind("127.0.0.1:0")?;
    for _ in 0..500 {
        stranger.send_to(&garbage(&mut random, 1400), victim_addr)?;
    }
    ensure!(cluster.node(victim).is_running(), "the daemon died of it; seed {SEED}");
    let mut client = cluster.client(victim);
    client.post::<Written>("/v1/configs/create", &spec::config("after", b"1")?).await?;
    alive::<Value>(&mut client, "/v1/configs/after").await?;
    cluster.node(rude).restart()?;
    cluster.node(rude).serving().await?;
    cluster.settled().await
}
