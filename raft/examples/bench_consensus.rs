//! Measures one consensus group on this machine: three nodes on loopback QUIC and real disks, each with
//! a runtime of its own. `cargo run --release -p swarm-raft --example bench_consensus [DIR]`
//!
//! Prints writes a second beside the raw limit of the same disk in the same run, the time from a lost
//! leader to the next accepted write, and what an idle node costs. The API's share is not in it.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a measuring tool")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use swarm_model::clock::Clock;
use swarm_model::command::{Actor, Command, Op};
use swarm_model::config::ConfigSpec;
use swarm_model::id::{ClusterId, ConfigId, NodeId, RequestId};
use swarm_model::node::Role;
use swarm_model::units::Timestamp;
use swarm_net::ca::{Identity, NodeKey, Root};
use swarm_net::quic::{Mesh, MeshConfig};
use swarm_net::rpc::{Method, Refusal, RefusalCode};
use swarm_net::task::TaskGroup;
use swarm_net::transport::{
    Caller, Handler, LateHandler, Members, Membership, MessageStream, Peer, Transport,
};
use swarm_raft::{Consensus, Gate, Options, Tables, Timing};
use swarm_state::store::Store;
use tokio::runtime::Runtime;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const ROUND: Duration = Duration::from_secs(4);

#[derive(Debug)]
struct Standing;

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        NOW
    }
}

struct Everybody;

impl Members for Everybody {
    fn membership(&self, _node: NodeId) -> Membership {
        Membership::Unknown
    }
}

struct Inbox(Consensus);

impl Handler for Inbox {
    fn call(
        &self,
        from: Caller,
        method: Method,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, Refusal>> {
        match from {
            Caller::Node(peer) => self.0.handle_call(peer, method, body),
            Caller::Anonymous { .. } => {
                async { Err(Refusal::new(RefusalCode::NotAllowed, "a stranger")) }.boxed()
            }
        }
    }

    fn stream(
        &self,
        from: Peer,
        method: Method,
        hello: Bytes,
        stream: MessageStream,
    ) -> BoxFuture<'static, ()> {
        self.0.handle_stream(from, method, hello, stream)
    }

    fn datagram(&self, _from: Peer, _payload: Bytes) {}
}

struct Node {
    runtime: Runtime,
    consensus: Consensus,
    mesh: Mesh,
    addr: SocketAddr,
    id: NodeId,
}

fn start(number: u128, root: &Root, dir: &Path) -> Node {
    let key = NodeKey::generate().expect("randomness");
    let id = NodeId::from_raw(number);
    let request = key.request().expect("signed");
    let day = Duration::from_secs(86_400);
    let certificate = root.issue(&request, id, Role::Manager, NOW, day).expect("issued");
    let identity =
        Identity::new(key, certificate, root.cert_der().to_vec()).expect("they belong together");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("threads");
    let (mesh, consensus) = runtime.block_on(async {
        let tasks = TaskGroup::new();
        let late = LateHandler::new();
        let mesh = Mesh::bind(MeshConfig {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            identity,
            members: Arc::new(Everybody),
            handler: Arc::new(late.clone()),
            tasks: tasks.clone(),
            clock: Arc::new(Standing),
        })
        .expect("a free port");
        let store = Store::open(&dir.join(number.to_string())).expect("an empty folder");
        let consensus = Consensus::start(Options {
            node_id: id,
            timing: Timing::LAN,
            snapshot_interval: 100_000,
            tables: Tables {
                log: store.log,
                vote: store.vote,
                meta: store.meta,
                snapshots: store.snapshots,
            },
            transport: Arc::new(mesh.clone()),
            tasks,
            inline_io: false,
            seed: 1,
            gate: Gate::open_from_the_start(),
        })
        .await
        .expect("started");
        late.set(Arc::new(Inbox(consensus.clone())));
        (mesh, consensus)
    });
    let addr = mesh.local_addr().expect("bound");
    Node { runtime, consensus, mesh, addr, id }
}

/// Updates one of a few configs, so that the state stays small.
fn command(request: u64) -> Command {
    let slot = request % 64;
    let spec = ConfigSpec {
        name: format!("config-{slot}").parse().expect("a valid name"),
        labels: BTreeMap::new(),
        data: vec![7; 256].into(),
    };
    let id = ConfigId::from_raw(u128::from(slot));
    let op = if request < 64 {
        Op::CreateConfig { id, spec }
    } else {
        Op::UpdateConfig { id, version: None, spec }
    };
    let request = Some(RequestId::from_raw(u128::from(request)));
    Command { request, at: NOW, actor: Actor::default(), op, if_revision: None }
}

fn writes(leader: &Node, clients: usize, next: &Arc<AtomicU64>) {
    let mut latencies = leader.runtime.block_on(async {
        let until = Instant::now() + ROUND;
        let client = || {
            let (consensus, next) = (leader.consensus.clone(), next.clone());
            tokio::spawn(async move {
                let mut took = Vec::new();
                while Instant::now() < until {
                    let command = command(next.fetch_add(1, Ordering::Relaxed));
                    let began = Instant::now();
                    consensus.propose(&command).await.expect("a quiet group");
                    took.push(began.elapsed());
                }
                took
            })
        };
        let clients: Vec<_> = (0..clients).map(|_| client()).collect();
        let mut all = Vec::new();
        for client in clients {
            all.extend(client.await.expect("no panic"));
        }
        all
    });
    latencies.sort_unstable();
    let per_second = u128::try_from(latencies.len()).expect("fits") * 1000 / ROUND.as_millis();
    let (p50, p99) = (latencies[latencies.len() / 2], latencies[latencies.len() * 99 / 100]);
    println!("{clients:4} clients: {per_second:6} writes/s, p50 {p50:?}, p99 {p99:?}");
}

/// The disk's own limit: appends of one record, each synced.
fn raw(dir: &Path) {
    let file = std::fs::File::create(dir.join("raw")).expect("a file");
    (&file).write_all(&vec![0; 16 << 20]).expect("room");
    file.sync_all().expect("synced");
    let (began, mut count) = (Instant::now(), 0u64);
    while began.elapsed() < Duration::from_secs(2) {
        file.write_all_at(&[7; 300], (count % 50_000) * 300).expect("room");
        file.sync_data().expect("synced");
        count += 1;
    }
    println!("raw append + fdatasync: {}/s", count / 2);
}

/// Processor time of this process, in clock ticks of 10 ms.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let after_name = stat.rsplit(')').next().expect("a name");
    let fields: Vec<_> = after_name.split_whitespace().collect();
    fields[11..13].iter().map(|field| field.parse::<u64>().expect("a number")).sum()
}

fn main() {
    let dir = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = dir.join(format!("bench-consensus-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder");
    raw(&dir);
    let root = Root::create(ClusterId::from_raw(1), NOW).expect("created");
    let mut nodes: Vec<_> = (1..=3).map(|number| start(number, &root, &dir)).collect();
    for node in &nodes {
        for other in &nodes {
            node.mesh.set_address(other.id, other.addr);
        }
    }
    nodes[0].runtime.block_on(async {
        let first = &nodes[0].consensus;
        first.bootstrap().await.expect("fresh");
        for node in &nodes[1..] {
            first.add_learner(node.id, None).await.expect("added");
        }
        first.set_voters(nodes.iter().map(|node| node.id).collect()).await.expect("agreed");
    });
    let next = Arc::new(AtomicU64::new(0));
    for clients in [1, 16, 64, 256] {
        writes(&nodes[0], clients, &next);
    }
    std::thread::sleep(Duration::from_secs(2));
    let (before, idle) = (ticks(), 20);
    std::thread::sleep(Duration::from_secs(idle));
    let share = ticks() - before;
    println!("idle: {share} ticks of 10 ms in {idle} s for three nodes");
    while nodes.len() > 1 {
        let leads = |node: &Node| node.consensus.status_now().is_leader();
        let Some(leader) = nodes.iter().position(leads) else { continue };
        if nodes.len() < 3 {
            break;
        }
        let killed = nodes.remove(leader);
        killed.runtime.shutdown_background();
        let began = Instant::now();
        let command = command(next.fetch_add(1, Ordering::Relaxed));
        'accepted: loop {
            for node in &nodes {
                let propose = node.consensus.propose_within(&command, Duration::from_millis(500));
                if node.runtime.block_on(propose).is_ok() {
                    break 'accepted;
                }
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        println!("leader lost → next accepted write: {:?}", began.elapsed());
    }
    std::fs::remove_dir_all(&dir).expect("removed");
}
