//! A cluster in one process: simulated network and disks, paused time, everything else is real.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use swarm_model::command::{Actor, Command, Op};
use swarm_model::config::ConfigSpec;
use swarm_model::id::{ConfigId, NodeId, RequestId};
use swarm_model::node::Role;
use swarm_model::units::Timestamp;
use swarm_net::rpc::{Method, Refusal, RefusalCode};
use swarm_net::sim::Network;
use swarm_net::task::TaskGroup;
use swarm_net::transport::{Caller, Handler, Members, Membership, MessageStream, Peer, Transport};
use swarm_raft::{Applied, Consensus, Error, Gate, Options, Tables, Timing};
use swarm_state::store::disk::MemDisk;
use swarm_state::store::{LogOptions, Store};

/// How long tests wait for what must come; simulated seconds cost nothing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

struct Everybody;

impl Members for Everybody {
    fn membership(&self, _node: NodeId) -> Membership {
        Membership::Unknown
    }
}

/// Hands calls to the consensus that runs now.
#[derive(Default)]
struct Inbox(Mutex<Option<Consensus>>);

impl Inbox {
    fn set(&self, consensus: Option<Consensus>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = consensus;
    }

    fn consensus(&self) -> Option<Consensus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Handler for Inbox {
    fn call(
        &self,
        from: Caller,
        method: Method,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, Refusal>> {
        match (self.consensus(), from) {
            (Some(consensus), Caller::Node(peer)) => consensus.handle_call(peer, method, body),
            _ => async { Err(Refusal::new(RefusalCode::Unavailable, "not running")) }.boxed(),
        }
    }

    fn stream(
        &self,
        from: Peer,
        method: Method,
        hello: Bytes,
        stream: MessageStream,
    ) -> BoxFuture<'static, ()> {
        match self.consensus() {
            Some(consensus) => consensus.handle_stream(from, method, hello, stream),
            None => async {}.boxed(),
        }
    }

    fn datagram(&self, _from: Peer, _payload: Bytes) {}
}

struct Node {
    disk: MemDisk,
    running: Option<Running>,
}

struct Running {
    consensus: Consensus,
    tasks: TaskGroup,
    inbox: Arc<Inbox>,
    transport: Arc<dyn Transport>,
}

/// Nodes 1, 2, 3, … on one network.
pub(crate) struct Cluster {
    pub(crate) network: Network,
    nodes: BTreeMap<NodeId, Node>,
    snapshot_interval: u64,
}

pub(crate) fn id(number: u128) -> NodeId {
    NodeId::from_raw(number)
}

pub(crate) fn ids(numbers: &[u128]) -> BTreeSet<NodeId> {
    numbers.iter().copied().map(id).collect()
}

/// A command whose effect can be looked for: config `number`.
pub(crate) fn command(number: u128) -> Command {
    config(number, 0)
}

/// As [`command`], with `size` bytes of data.
pub(crate) fn config(number: u128, size: usize) -> Command {
    let spec = ConfigSpec {
        name: format!("config-{number}").parse().expect("a valid name"),
        labels: BTreeMap::new(),
        data: vec![7; size].into(),
    };
    Command {
        request: Some(RequestId::from_raw(number)),
        at: Timestamp::from_millis(1),
        actor: Actor::default(),
        op: Op::CreateConfig { id: ConfigId::from_raw(number), spec },
        if_revision: None,
    }
}

/// Whether `consensus` has applied [`command`] `number`.
pub(crate) fn has(consensus: &Consensus, number: u128) -> bool {
    consensus.view().configs.contains_key(&ConfigId::from_raw(number))
}

/// One node without a network on a real disk, with threads.
pub(crate) async fn alone(store: Store) -> (Consensus, TaskGroup) {
    let tasks = TaskGroup::new();
    let network = Network::new(1);
    let inbox = Arc::new(Inbox::default());
    let options = Options {
        node_id: id(1),
        timing: Timing::LAN,
        snapshot_interval: 10_000,
        tables: tables(store),
        transport: network.node(id(1), Role::Manager, Arc::new(Everybody), inbox),
        tasks: tasks.clone(),
        inline_io: false,
        seed: 1,
        gate: Gate::open_from_the_start(),
    };
    (Consensus::start(options).await.expect("a sound store"), tasks)
}

fn tables(store: Store) -> Tables {
    Tables { log: store.log, vote: store.vote, meta: store.meta, snapshots: store.snapshots }
}

impl Cluster {
    pub(crate) fn empty(seed: u64) -> Self {
        Self { network: Network::new(seed), nodes: BTreeMap::new(), snapshot_interval: 10_000 }
    }

    /// `size` voters; node 1 began.
    pub(crate) async fn of(size: u128, seed: u64) -> Self {
        Self::with_interval(size, seed, 10_000).await
    }

    /// As [`Cluster::of`], with a snapshot every `interval` records.
    pub(crate) async fn with_interval(size: u128, seed: u64, interval: u64) -> Self {
        let mut cluster = Self::empty(seed);
        cluster.snapshot_interval = interval;
        cluster.start(1).await;
        cluster.node(1).bootstrap().await.expect("a fresh node");
        for number in 2..=size {
            cluster.start(number).await;
            cluster.node(1).add_learner(id(number), None).await.expect("room for a learner");
        }
        let voters = (1..=size).map(id).collect();
        cluster.node(1).set_voters(voters).await.expect("all can be reached");
        cluster
    }

    /// Starts node `number`, or starts it again on the disk it left.
    pub(crate) async fn start(&mut self, number: u128) -> Consensus {
        self.start_behind(number, Gate::open_from_the_start()).await
    }

    /// Replaces the disk of node `number`, which is down, by an empty one.
    pub(crate) fn wipe(&mut self, number: u128) {
        let node = self.nodes.get_mut(&id(number)).expect("a known node");
        node.disk = MemDisk::new(7);
    }

    /// As [`Cluster::start`], behind `gate`.
    pub(crate) async fn start_behind(&mut self, number: u128, gate: Gate) -> Consensus {
        let node_id = id(number);
        let seed = u64::try_from(number).expect("a small number");
        let node = self
            .nodes
            .entry(node_id)
            .or_insert_with(|| Node { disk: MemDisk::new(seed), running: None });
        let inbox = Arc::new(Inbox::default());
        let transport =
            self.network.node(node_id, Role::Manager, Arc::new(Everybody), inbox.clone());
        let disk = Arc::new(node.disk.clone());
        let store = Store::open_on(disk, Path::new("/data"), LogOptions::default());
        let store = store.expect("a sound disk");
        let tasks = TaskGroup::new();
        let options = Options {
            node_id,
            timing: Timing::LAN,
            snapshot_interval: self.snapshot_interval,
            tables: tables(store),
            transport: transport.clone(),
            tasks: tasks.clone(),
            inline_io: true,
            seed,
            gate,
        };
        let consensus = Consensus::start(options).await.expect("a sound store");
        inbox.set(Some(consensus.clone()));
        node.running = Some(Running { consensus: consensus.clone(), tasks, inbox, transport });
        // Whoever started before knows where the others are, as gossip would tell.
        let addresses: Vec<_> = self
            .nodes
            .keys()
            .filter_map(|known| Some((*known, self.network.address(*known)?)))
            .collect();
        for running in self.nodes.values().filter_map(|node| node.running.as_ref()) {
            for (known, addr) in &addresses {
                running.transport.set_address(*known, *addr);
            }
        }
        consensus
    }

    /// Kills node `number`; with `power_cut`, what it had not synced is lost.
    pub(crate) async fn kill(&mut self, number: u128, power_cut: bool) {
        self.network.stop(id(number));
        let node = self.nodes.get_mut(&id(number)).expect("a known node");
        if power_cut {
            node.disk.crash();
        } else {
            node.disk.kill();
        }
        if let Some(running) = node.running.take() {
            running.inbox.set(None);
            running.tasks.shutdown(Duration::ZERO).await;
            running.consensus.halt().await;
        }
    }

    /// Consensus on node `number`.
    pub(crate) fn node(&self, number: u128) -> Consensus {
        let node = self.nodes.get(&id(number)).and_then(|node| node.running.as_ref());
        node.expect("a running node").consensus.clone()
    }

    /// How node `number` reaches the others.
    pub(crate) fn transport(&self, number: u128) -> Arc<dyn Transport> {
        let node = self.nodes.get(&id(number)).and_then(|node| node.running.as_ref());
        node.expect("a running node").transport.clone()
    }

    /// The disk of node `number`.
    pub(crate) fn disk(&self, number: u128) -> &MemDisk {
        &self.nodes.get(&id(number)).expect("a known node").disk
    }

    pub(crate) fn running(&self) -> Vec<Consensus> {
        let running = self.nodes.values().filter_map(|node| node.running.as_ref());
        running.map(|running| running.consensus.clone()).collect()
    }

    /// Waits until one of `numbers` leads and the others of them know it; gives its number.
    pub(crate) async fn leader_among(&self, numbers: &[u128]) -> u128 {
        let wanted = numbers.to_vec();
        wait_until("a leader", || {
            let leaders: BTreeSet<_> =
                wanted.iter().map(|n| self.node(*n).status_now().leader).collect();
            let [Some(leader)] = leaders.into_iter().collect::<Vec<_>>()[..] else { return None };
            let number = leader.raw();
            (wanted.contains(&number) && self.node(number).status_now().is_leader())
                .then_some(number)
        })
        .await
    }

    /// Waits until every running node has applied `number`.
    pub(crate) async fn all_have(&self, number: u128) {
        wait_until("every replica to catch up", || {
            self.running().iter().all(|consensus| has(consensus, number)).then_some(())
        })
        .await;
    }

    /// Proposes at whoever of `numbers` leads, until it is done, as a client with one request id does.
    pub(crate) async fn write(&self, numbers: &[u128], number: u128) -> Applied {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let leader = self.leader_among(numbers).await;
            match self.node(leader).propose(&command(number)).await {
                Err(Error::NotLeader { .. } | Error::Unknown { .. } | Error::NoQuorum { .. })
                    if attempts < 100 => {}
                result => return result.expect("the write is accepted in the end"),
            }
        }
    }
}

/// Looks every few simulated milliseconds, at most for [`PATIENCE`].
pub(crate) async fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
