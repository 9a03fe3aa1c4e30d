//! The machines of a simulation: founded, joined, killed and restarted as real ones are.
//!
//! Nodes are the product's own, put together by its own assembly; only what touches the world
//! outside is simulated. Identities and settings lie in a real temporary directory, tables on the
//! simulated disk.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use swarm_model::clock::Clock;
use swarm_model::cluster::ClusterSpec;
use swarm_model::id::{IdSource, NodeId};
use swarm_model::node::{Availability, NodeDescription, Role};
use swarm_model::resources::Resources;
use swarm_model::units::{Bytes, MilliCpu};
use swarm_net::ca::{Identity, JoinToken, NodeKey};
use swarm_net::frame;
use swarm_net::gossip::GossipConfig;
use swarm_net::rpc::{Lane, RefusalCode};
use swarm_net::sim::Network;
use swarm_net::task::TaskGroup;
use swarm_net::transport::CallError;
use swarm_node::api::backend::Backend;
use swarm_node::assembly::{Parts, assemble};
use swarm_node::config::{self, NodeConfig};
use swarm_node::join::{JoinGrant, JoinRequest};
use swarm_node::keys::KeyRing;
use swarm_node::logs::LogStore;
use swarm_node::members::ReplicaMembers;
use swarm_node::node::Node;
use swarm_node::quarantine::{self, Home};
use swarm_node::recover::{self, Order};
use swarm_node::router::Router;
use swarm_node::runtime::{MockRuntime, Registry, TaskRuntime};
use swarm_node::setup::{self, InitOptions};
use swarm_node::work::Work;
use swarm_raft::{Replica, Tables, Timing};
use swarm_state::store::disk::{Disk, MemDisk};
use swarm_state::store::{self, LogOptions, Store, Table};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::chance::Chance;
use super::clock::{SeededIds, SimClock};
use super::world::{Seat, Up, World};

/// Where tables lie on every simulated disk.
const DATA: &str = "/data";
/// Where identities and settings lie, if the environment does not say: in memory.
const SHARED_MEMORY: &str = "/dev/shm";
/// Says where identities and settings lie. It must make no difference.
const HOME: &str = "SWARM_SIM_HOME";
/// How long a task's program takes to start.
const START_DELAY: Duration = Duration::from_millis(3);
/// How often a joining node asks again.
const JOIN_ATTEMPTS: u32 = 20;
/// How long one attempt to join may take.
const JOIN_DEADLINE: Duration = Duration::from_secs(10);

/// What a cluster is made of.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Nodes that may vote.
    pub managers: u32,
    /// Nodes that do not.
    pub workers: u32,
    /// Log entries between snapshots.
    pub snapshot_interval: u64,
}

/// How a daemon dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kill {
    /// The process alone: files and tasks stay.
    Process,
    /// The machine: what was not synced is lost, tasks are gone.
    Power,
}

/// One machine.
#[derive(Debug)]
struct Machine {
    id: NodeId,
    dir: PathBuf,
    clock: Arc<SimClock>,
    disk: MemDisk,
    runtime: MockRuntime,
    life: u32,
    tasks: Option<TaskGroup>,
}

/// A simulated cluster.
#[derive(Debug)]
pub struct Cluster {
    /// Everybody's view of it.
    pub world: World,
    /// The links.
    pub network: Network,
    seed: u64,
    machines: BTreeMap<u32, Machine>,
    home: TempDir,
}

impl Cluster {
    /// A running cluster of this shape. Must be called inside a paused runtime.
    ///
    /// # Errors
    /// When it does not come up: the product is broken.
    pub async fn start(seed: u64, shape: Shape) -> anyhow::Result<Self> {
        let world = World::new(Arc::new(SimClock::start()));
        let home = match std::env::var_os(HOME) {
            Some(place) => TempDir::new_in(place),
            None if Path::new(SHARED_MEMORY).is_dir() => TempDir::new_in(SHARED_MEMORY),
            None => TempDir::new(),
        };
        let home = home.context("a directory for identities")?;
        let network = Network::new(seed);
        let machines = BTreeMap::new();
        let mut cluster = Self { world, network, seed, machines, home };
        cluster.found(shape.snapshot_interval).await?;
        for _ in 1..shape.managers {
            cluster.join(Role::Manager).await?;
        }
        for _ in 0..shape.workers {
            cluster.join(Role::Worker).await?;
        }
        Ok(cluster)
    }

    /// The seed of the run.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// All machines' numbers.
    pub fn numbers(&self) -> Vec<u32> {
        self.machines.keys().copied().collect()
    }

    /// Whether the daemon of a machine is up.
    pub fn is_up(&self, number: u32) -> bool {
        self.machines.get(&number).is_some_and(|machine| machine.tasks.is_some())
    }

    /// The node of a machine.
    ///
    /// # Errors
    /// When there is none, or its daemon is down.
    pub fn node(&self, number: u32) -> anyhow::Result<Node> {
        let seat = self.world.seats().remove(&number).and_then(|seat| seat.up);
        Ok(seat.with_context(|| format!("node {number} is down"))?.node)
    }

    /// The id of a machine's node.
    ///
    /// # Errors
    /// When there is no such machine.
    pub fn id(&self, number: u32) -> anyhow::Result<NodeId> {
        Ok(self.machine(number)?.id)
    }

    /// What runs tasks on a machine.
    ///
    /// # Errors
    /// When there is no such machine.
    pub fn runtime(&self, number: u32) -> anyhow::Result<MockRuntime> {
        Ok(self.machine(number)?.runtime.clone())
    }

    /// The disk of a machine.
    ///
    /// # Errors
    /// When there is no such machine.
    pub fn disk(&self, number: u32) -> anyhow::Result<MemDisk> {
        Ok(self.machine(number)?.disk.clone())
    }

    fn machine(&self, number: u32) -> anyhow::Result<&Machine> {
        self.machines.get(&number).with_context(|| format!("there is no node {number}"))
    }

    fn next_number(&self) -> u32 {
        self.machines.last_key_value().map_or(1, |(number, _)| number + 1)
    }

    /// Where the network puts the next node.
    fn next_address(number: u32) -> SocketAddr {
        let [_, b, c, d] = number.to_be_bytes();
        SocketAddr::from(([10, b, c, d], 2377))
    }

    async fn found(&mut self, snapshot_interval: u64) -> anyhow::Result<()> {
        let dir = self.home.path().join("1");
        let mut ids = SeededIds(Chance::new(self.seed, "init"));
        let options = InitOptions {
            data_dir: dir.clone(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: Self::next_address(1),
            availability: Availability::Active,
            spec: ClusterSpec { snapshot_interval, ..ClusterSpec::default() },
            offers: Default::default(),
        };
        let prepared = setup::init(&options, &*self.world.clock, &mut || ids.draw())?;
        self.insert(1, prepared.node_id, dir);
        self.boot(1).await
    }

    /// A new machine joins through whoever answers, as `swarm join` does.
    ///
    /// # Errors
    /// When nobody lets it in.
    pub async fn join(&mut self, role: Role) -> anyhow::Result<u32> {
        let number = self.next_number();
        let dir = self.home.path().join(number.to_string());
        std::fs::create_dir(&dir)?;
        let key = NodeKey::generate()?;
        let grant = self.ask_to_join(role, &key, number).await?;
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let prepared = setup::furnish(&dir, key, grant, listen, Default::default())?;
        ensure!(prepared.role == role, "asked to be a {role}, became a {}", prepared.role);
        self.insert(number, prepared.node_id, dir);
        self.boot(number).await?;
        Ok(number)
    }

    async fn ask_to_join(
        &self,
        role: Role,
        key: &NodeKey,
        number: u32,
    ) -> anyhow::Result<JoinGrant> {
        let first = self.network.address(self.machine(1)?.id).context("node 1 listens")?;
        let mut ask_at = first;
        for _ in 0..JOIN_ATTEMPTS {
            let token: JoinToken = self.node(1)?.join_token(role).await?.parse()?;
            let request = JoinRequest {
                secret: token.secret(),
                certificate_request: key.request()?,
                description: describe(number),
                availability: Availability::Active,
                advertise: Self::next_address(number),
                now: self.world.clock.now(),
            };
            let body = frame::encode(&request);
            match self.network.join_call(ask_at, body, JOIN_DEADLINE).await {
                Ok(bytes) => return Ok(frame::decode(&bytes)?),
                Err(CallError::Refused(refusal)) if refusal.code == RefusalCode::NotLeader => {
                    ask_at = frame::decode(&refusal.detail)?;
                }
                Err(CallError::Refused(refusal)) if refusal.code == RefusalCode::Unavailable => {
                    // A leader that was cut off says so for ever: the first may know a newer one.
                    ask_at = first;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        bail!("nobody let node {number} in")
    }

    fn insert(&mut self, number: u32, id: NodeId, dir: PathBuf) {
        let clock = Arc::new(self.world.clock.another());
        let disk_seed = Chance::new(self.seed, &format!("disk {number}")).word();
        let machine = Machine {
            id,
            dir,
            disk: MemDisk::new(disk_seed),
            runtime: MockRuntime::new(clock.clone(), START_DELAY),
            clock,
            life: 0,
            tasks: None,
        };
        self.machines.insert(number, machine);
    }

    /// Starts the daemon of a machine, or starts it again on the disk it left.
    ///
    /// # Errors
    /// When it does not start: a sound disk was refused.
    pub async fn boot(&mut self, number: u32) -> anyhow::Result<()> {
        let machine = self.machines.get_mut(&number).context("a known machine")?;
        machine.life += 1;
        let (life, tasks) = (machine.life, TaskGroup::new());
        machine.tasks = Some(tasks.clone());
        self.world.note(&format!("n{number} starts, life {life}"));
        let (id, runtime) = (machine.id, machine.runtime.clone());
        let parts = self.parts(number, tasks)?;
        let node = Box::pin(assemble(parts)).await.with_context(|| format!("start n{number}"))?;
        let ended = CancellationToken::new();
        let up = Some(Up { node, life, ended });
        self.world.seat(number, Seat { id, runtime, up });
        Ok(())
    }

    fn parts(&self, number: u32, tasks: TaskGroup) -> anyhow::Result<Parts> {
        let machine = self.machine(number)?;
        let dir = &machine.dir;
        let config = NodeConfig::load(dir)?;
        let identity = Identity::load(dir)?;
        let (members, router) = (Arc::new(ReplicaMembers::default()), Arc::new(Router::default()));
        let transport =
            self.network.node(machine.id, identity.role(), members.clone(), router.clone());
        let listens = self.network.address(machine.id);
        ensure!(listens == Some(config.advertise), "n{number} is not where it says it is");
        let peers = config::load_peers(dir)?;
        let home = SimHome(machine.disk.clone());
        let (store, quarantine) = quarantine::open(dir, !peers.is_empty(), &home)?;
        if let Some(quarantine) = quarantine {
            self.world.count("fault: quarantined");
            self.world.replaced(number);
            self.world.note(&format!("n{number} in quarantine: {}", quarantine.reason));
        }
        store.meta.claim(store::Identity { cluster: config.cluster_id, node: config.node_id })?;
        let mut chance = Chance::new(self.seed, &format!("node {number} life {}", machine.life));
        let runtime: Arc<dyn TaskRuntime> = Arc::new(machine.runtime.clone());
        Ok(Parts {
            keys: KeyRing::open(dir)?,
            peers,
            description: describe(number),
            logs: LogStore::open(dir.join("logs"))?.inline(),
            config,
            identity,
            data_dir: dir.clone(),
            clock: machine.clock.clone(),
            seed: chance.word(),
            ids: Box::new(SeededIds(chance)),
            store,
            transport,
            members,
            router,
            runtimes: Registry::new([runtime]),
            timing: Timing::LAN,
            gossip: GossipConfig::default(),
            tasks,
            work: Work::Inline,
        })
    }

    /// Starts the next life of every daemon that asked for it, as `swarm daemon` does by itself.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn bear_again(&mut self) -> anyhow::Result<()> {
        for (number, up) in self.world.up() {
            if up.node.core().born_again.is_cancelled() {
                self.world.count("life begun anew");
                self.kill(number, Kill::Process).await?;
                self.boot(number).await?;
            }
        }
        Ok(())
    }

    /// What a copy of a machine's data directory holds now.
    ///
    /// # Errors
    /// When there is no such machine, or its files cannot be read.
    pub fn copy(&self, number: u32) -> anyhow::Result<Copy> {
        let machine = self.machine(number)?;
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(&machine.dir)? {
            let path = entry?.path();
            if path.is_file() {
                files.insert(path.clone(), std::fs::read(path)?);
            }
        }
        Ok(Copy { files, disk: machine.disk.copy(self.seed) })
    }

    /// Puts a copy in place of a machine's data directory, whose daemon must be down.
    ///
    /// # Errors
    /// When there is no such machine, or its files cannot be written.
    pub fn restore(&mut self, number: u32, copy: Copy) -> anyhow::Result<()> {
        self.world.note(&format!("n{number}: an old copy of its data directory"));
        let machine = self.machines.get_mut(&number).context("a known machine")?;
        for (path, bytes) in copy.files {
            std::fs::write(path, bytes)?;
        }
        machine.disk = copy.disk;
        self.world.replaced(number);
        Ok(())
    }

    /// Makes a machine, whose daemon must be down, the only voter, without all other managers: what
    /// `swarm recover` does.
    ///
    /// # Errors
    /// When it cannot go on.
    pub fn recover(&mut self, number: u32) -> anyhow::Result<()> {
        let machine = self.machine(number)?;
        let store = SimHome(machine.disk.clone()).open()?;
        let Store { log, vote, meta, snapshots, .. } = store;
        let tables = Tables { log, vote, meta, snapshots };
        let replica = Replica::read(&tables)?;
        let managers = replica.view().nodes.values();
        let managers = managers.filter(|node| node.spec.role == Role::Manager);
        let lost = managers.map(|node| node.id).filter(|id| *id != machine.id).collect();
        let order = Order { lost, at: self.world.clock.now(), draw: self.seed };
        let epoch = recover::perform_on(tables, machine.id, &order)?;
        self.world.note(&format!("n{number} goes on as epoch {epoch}"));
        self.world.count("fault: recovered");
        Ok(())
    }

    /// What a machine's disk reads now, beside the daemon that runs on it.
    ///
    /// # Errors
    /// When there is no such machine, or its tables do not open.
    pub fn tables(&self, number: u32) -> anyhow::Result<Tables> {
        let disk = self.machine(number)?.disk.copy(self.seed);
        let Store { log, vote, meta, snapshots, .. } = SimHome(disk).open()?;
        Ok(Tables { log, vote, meta, snapshots })
    }

    /// Takes all tables of a machine away, whose daemon must be down.
    ///
    /// # Errors
    /// When there is no such machine.
    pub fn empty(&mut self, number: u32) -> anyhow::Result<()> {
        self.world.note(&format!("n{number}: its tables are gone"));
        let machine = self.machines.get_mut(&number).context("a known machine")?;
        machine.disk = MemDisk::new(self.seed);
        Ok(())
    }

    /// Kills the daemon of a machine; down already is fine.
    ///
    /// # Errors
    /// When there is no such machine.
    pub async fn kill(&mut self, number: u32, how: Kill) -> anyhow::Result<()> {
        self.kill_together(&[(number, how)]).await
    }

    /// Kills the daemons of several machines in the same moment.
    ///
    /// # Errors
    /// When there is no such machine.
    pub async fn kill_together(&mut self, dying: &[(u32, Kill)]) -> anyhow::Result<()> {
        let mut dead = Vec::new();
        for (number, how) in dying {
            dead.push(self.strike(*number, *how)?);
        }
        for (tasks, up) in dead {
            if let Some(tasks) = tasks {
                tasks.shutdown(Duration::ZERO).await;
            }
            if let Some(up) = up {
                up.node.core().consensus.halt().await;
            }
        }
        Ok(())
    }

    /// What dies at once; what is left of the daemon is to be cleared away.
    fn strike(
        &mut self,
        number: u32,
        how: Kill,
    ) -> anyhow::Result<(Option<TaskGroup>, Option<Up>)> {
        let up = self.world.seats().remove(&number).and_then(|seat| seat.up);
        let machine = self.machines.get_mut(&number).context("a known machine")?;
        self.network.stop(machine.id);
        match how {
            Kill::Process => machine.disk.kill(),
            Kill::Power => {
                machine.disk.crash();
                machine.runtime.lose_power();
            }
        }
        self.world.note(&format!("n{number} killed: {how:?}"));
        self.world.down(number);
        Ok((machine.tasks.take(), up))
    }

    /// Sets the wall clock of a machine wrong by so many milliseconds.
    ///
    /// # Errors
    /// When there is no such machine.
    pub fn set_clock(&self, number: u32, wrong_by_ms: i64) -> anyhow::Result<()> {
        self.world.note(&format!("n{number}: clock wrong by {wrong_by_ms} ms"));
        self.machine(number)?.clock.set(wrong_by_ms);
        Ok(())
    }

    /// A machine that never comes back: its node is still a member, which somebody has to remove.
    ///
    /// # Errors
    /// When there is no such machine.
    pub async fn bury(&mut self, number: u32) -> anyhow::Result<NodeId> {
        self.kill(number, Kill::Power).await?;
        self.world.bury(number);
        let gone = self.machines.remove(&number).context("a known machine")?;
        Ok(gone.id)
    }

    /// Nothing gets from one machine to the other.
    ///
    /// # Errors
    /// When there is no such machine.
    pub fn cut(&self, from: u32, to: u32) -> anyhow::Result<()> {
        self.network.cut(self.id(from)?, self.id(to)?);
        self.world.set_cut(from, to, true);
        Ok(())
    }

    /// Cuts one lane between a machine and some others, both ways; other lanes get through.
    ///
    /// # Errors
    /// When there is no such machine.
    pub fn cut_lane(&self, one: u32, others: &[u32], lane: Lane) -> anyhow::Result<()> {
        self.world.note(&format!("{lane:?} cut {one} | {others:?}"));
        self.world.count("fault: lane cut");
        for other in others {
            let (a, b) = (self.id(one)?, self.id(*other)?);
            self.network.cut_lanes(a, b, &[lane]);
            self.network.cut_lanes(b, a, &[lane]);
        }
        Ok(())
    }

    /// Cuts all links between two groups, both ways.
    ///
    /// # Errors
    /// When there is no such machine.
    pub fn partition(&self, one: &[u32], other: &[u32]) -> anyhow::Result<()> {
        self.world.note(&format!("partition {one:?} | {other:?}"));
        for a in one {
            for b in other {
                self.cut(*a, *b)?;
                self.cut(*b, *a)?;
            }
        }
        Ok(())
    }

    /// Mends all links.
    pub fn heal(&self) {
        self.world.note("heal");
        let numbers = self.numbers();
        for a in &numbers {
            for b in &numbers {
                self.world.set_cut(*a, *b, false);
            }
        }
        self.network.heal_all();
    }

    /// Ends everything.
    pub async fn stop(mut self) {
        for number in self.numbers() {
            // Every number is known.
            drop(self.kill(number, Kill::Process).await);
        }
        self.network.shutdown().await;
    }
}

/// A copy of a data directory.
#[derive(Debug)]
pub struct Copy {
    files: BTreeMap<PathBuf, Vec<u8>>,
    disk: MemDisk,
}

/// Tables on a simulated disk.
struct SimHome(MemDisk);

impl Home for SimHome {
    fn open(&self) -> Result<Store, store::Error> {
        let options = LogOptions { zero_step: 16 << 10, ..LogOptions::default() };
        Store::open_on(Arc::new(self.0.clone()), Path::new(DATA), options)
    }

    fn set_aside(&self) -> Result<(), store::Error> {
        let disk: Arc<dyn Disk> = Arc::new(self.0.clone());
        Store::set_aside_on(&disk, Path::new(DATA), Table::Votes).map(drop)
    }
}

/// What a simulated machine says of itself.
fn describe(number: u32) -> NodeDescription {
    NodeDescription {
        hostname: format!("n{number}"),
        os: "linux".to_owned(),
        arch: "x86_64".to_owned(),
        resources: Resources::new(MilliCpu(8000), Bytes(16 << 30)),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        labels: BTreeMap::from([("zone".to_owned(), format!("z{}", number % 3))]),
    }
}
