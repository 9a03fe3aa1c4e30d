//! Puts a node together from its parts. The parts may be real ones ([`crate::daemon`]) or simulated.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use swarm_model::clock::Clock;
use swarm_model::command::{NewNode, Op};
use swarm_model::id::{IdSource, Incarnation, TaskId};
use swarm_model::node::{NodeDescription, NodeSpec, Role};
use swarm_model::task::TaskStatus;
use swarm_net::ca::Identity;
use swarm_net::frame;
use swarm_net::gossip::{Gossip, GossipConfig, StatusKey};
use swarm_net::task::TaskGroup;
use swarm_net::transport::Transport;
use swarm_raft::{Consensus, Gate, News, Options, Status, Tables, Timing};
use swarm_state::feed::Feed;
use swarm_state::store::{AgentTable, DiskFault, Store};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::agent::board::{Board, Whisper};
use crate::agent::{self, Agent};
use crate::config::{Bootstrap, ConfigError, NodeConfig, Peers};
use crate::core::Core;
use crate::disk::DiskGuard;
use crate::keys::KeyRing;
use crate::logs::LogStore;
use crate::members::ReplicaMembers;
use crate::node::Node;
use crate::offers::Devices;
use crate::quarantine::Quarantine;
use crate::router::Router;
use crate::runtime::Registry;
use crate::session::MeshSessions;
use crate::work::Work;
use crate::{boot, epoch, greet, leader, quarantine, readmit, room, upkeep};

/// How long the first node may take to become the leader of itself.
const BOOTSTRAP_PATIENCE: Duration = Duration::from_secs(10);

/// Everything a node is made of.
pub struct Parts {
    /// Its settings.
    pub config: NodeConfig,
    /// Who it is.
    pub identity: Identity,
    /// A manager's keys.
    pub keys: KeyRing,
    /// Where it lives.
    pub data_dir: PathBuf,
    /// Where the others were last.
    pub peers: Peers,
    /// What it says of itself.
    pub description: NodeDescription,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness for ids.
    pub ids: Box<dyn IdSource + Send>,
    /// Its tables.
    pub store: Store,
    /// The way to others.
    pub transport: Arc<dyn Transport>,
    /// What the transport asks about members; follows the replica once that stands.
    pub members: Arc<ReplicaMembers>,
    /// What the transport hands calls to.
    pub router: Arc<Router>,
    /// How tasks run.
    pub runtimes: Registry,
    /// Where their output is.
    pub logs: LogStore,
    /// How long the cluster waits for its leader.
    pub timing: Timing,
    /// How often gossip probes.
    pub gossip: GossipConfig,
    /// Owns everything that runs.
    pub tasks: TaskGroup,
    /// Where disk work is done: a simulation has no threads.
    pub work: Work,
    /// For choices that need no secrecy.
    pub seed: u64,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Why a node does not stand.
#[derive(Debug, thiserror::Error)]
pub enum AssemblyError {
    /// Agreement does not start.
    #[error(transparent)]
    Raft(#[from] swarm_raft::Error),
    /// The agent does not start.
    #[error(transparent)]
    Agent(#[from] agent::Error),
    /// The data directory cannot be written.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The new cluster's first command failed.
    #[error("the cluster could not be set up: {0}")]
    Bootstrap(String),
}

/// Starts a node. Its parts run until `parts.tasks` is shut down.
///
/// # Errors
/// See [`AssemblyError`].
pub async fn assemble(mut parts: Parts) -> Result<Node, AssemblyError> {
    let Notes { boot, quarantine, fence } = notes(&mut parts).await?;
    for (node, addr) in &parts.peers {
        parts.transport.set_address(*node, *addr);
    }
    let incarnation = Incarnation::of_boot(boot, low_bits(parts.ids.draw()));
    let gossip = start_gossip(&parts, incarnation);
    let Store { log, vote, meta, snapshots, agent_tasks, fault, .. } = parts.store;
    let consensus = Consensus::start(Options {
        node_id: parts.config.node_id,
        timing: parts.timing,
        snapshot_interval: parts.config.snapshot_interval,
        tables: Tables { log, vote, meta, snapshots },
        transport: parts.transport.clone(),
        tasks: parts.tasks.clone(),
        inline_io: parts.work == Work::Inline,
        seed: parts.seed,
        gate: Gate::shut_at_first(),
    })
    .await?;
    let news = consensus.news();
    parts.members.follow(consensus.views());
    let core = Arc::new(Core {
        id: parts.config.node_id,
        cluster_id: parts.config.cluster_id,
        incarnation,
        addr: parts.config.advertise,
        disk: guard(parts.work, &parts.data_dir),
        data_dir: parts.data_dir,
        description: parts.description,
        started_at: parts.clock.now(),
        clock: parts.clock,
        ids: Mutex::new(parts.ids),
        feed: Mutex::new(Feed::starting_after(consensus.view().revision)),
        consensus,
        members: parts.members,
        transport: parts.transport,
        gossip,
        keys: parts.keys,
        identity: watch::Sender::new(parts.identity),
        logs: parts.logs,
        runtimes: parts.runtimes,
        leadership: watch::Sender::new(None),
        tasks: parts.tasks,
        work: parts.work,
        dismissed: CancellationToken::new(),
        broken_disk: cancelled_by(&fault),
        disk_fault: fault,
        quarantine: watch::Sender::new(fence.clone().or(quarantine.as_ref().map(reason_of))),
        fence,
        rival: watch::Sender::default(),
        order: Mutex::default(),
        born_again: CancellationToken::new(),
        lives: greet::Lives::default(),
    });
    core.tasks.spawn("event feed", feed(core.clone(), news));
    if core.fence.is_some() {
        // What it holds can be read, and it can leave. It calls nobody and answers nobody.
        return Ok(Node::new(core));
    }
    parts.router.serve(&core);
    spawn_loops(&core);
    let founds = parts.peers.is_empty() && quarantine.is_none();
    begin_part(&core, parts.peers, quarantine);
    if let Some(bootstrap) = parts.config.bootstrap.filter(|_| founds) {
        found_cluster(&core, &bootstrap).await?;
    }
    start_agent(&core, agent_tasks, parts.config.offers.devices).await?;
    Ok(Node::new(core))
}

fn spawn_loops(core: &Arc<Core>) {
    core.tasks.spawn("leader", leader::run(core.clone()));
    core.tasks.spawn("upkeep", upkeep::run(core.clone()));
    core.tasks.spawn("epoch", epoch::run(core.clone()));
    core.tasks.spawn("room", room::run(core.clone()));
}

fn reason_of(quarantine: &Quarantine) -> String {
    quarantine.reason.clone()
}

/// What the data directory says of the lives before.
struct Notes {
    boot: u64,
    quarantine: Option<Quarantine>,
    fence: Option<String>,
}

/// Reads the notes, and has the parts know what they must before anybody speaks: the epoch, and that a
/// fenced node has no peers.
async fn notes(parts: &mut Parts) -> Result<Notes, ConfigError> {
    let dir = parts.data_dir.clone();
    let files = move || {
        Ok((boot::draw(&dir)?, quarantine::read(&dir)?, epoch::last(&dir)?, epoch::fence(&dir)?))
    };
    let (boot, quarantine, noted, fence) = parts.work.run(files).await?;
    if let Some(noted) = noted {
        parts.members.note_epoch(noted);
    }
    if fence.is_some() {
        parts.peers.clear();
    }
    Ok(Notes { boot, quarantine, fence: fence.map(|fence| fence.reason()) })
}

/// Watches the room on the disk; a simulation must not depend on that of this machine.
fn guard(work: Work, data_dir: &Path) -> DiskGuard {
    DiskGuard::new(match work {
        Work::Threads => data_dir.to_owned(),
        Work::Inline => PathBuf::new(),
    })
}

/// A token for those who wait for a failed sync.
fn cancelled_by(fault: &DiskFault) -> CancellationToken {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    fault.on_failure(move |_why| cancelled.cancel());
    token
}

fn start_gossip(parts: &Parts, incarnation: Incarnation) -> Gossip {
    let gossip = Gossip::start(
        parts.gossip,
        parts.config.node_id,
        incarnation,
        parts.config.advertise,
        parts.transport.clone(),
        parts.seed,
        &parts.tasks,
    );
    gossip.seed_peers(parts.peers.clone().into_iter().collect());
    let resources = frame::encode(&parts.description.resources);
    if let Err(error) = gossip.publish(StatusKey::Resources, resources) {
        tracing::warn!(%error, "resources not published");
    }
    gossip
}

/// Lets the replica take part in the group as soon as it may.
fn begin_part(core: &Arc<Core>, peers: Peers, quarantine: Option<Quarantine>) {
    let voters = core.consensus.status_now().voters;
    // Nobody to ask, or a node that never promised anything.
    let alone = peers.is_empty() && voters.iter().all(|voter| *voter == core.id);
    let new = alone || (voters.is_empty() && core.incarnation.boot() == 1);
    if quarantine.is_none() && new {
        core.consensus.gate().open();
    } else {
        core.tasks.spawn("readmission", readmit::run(core.clone(), quarantine, peers));
    }
    core.tasks.spawn("double", greet::watch_for_a_double(core.clone()));
}

fn low_bits(drawn: u128) -> u64 {
    u64::try_from(drawn & u128::from(u64::MAX)).unwrap_or_default()
}

async fn start_agent(
    core: &Arc<Core>,
    table: AgentTable,
    devices: Devices,
) -> Result<(), AssemblyError> {
    let board = Arc::new(Board::new(Arc::new(GossipWhisper(core.gossip.clone()))));
    let agent = Agent::start(agent::Options {
        node: core.id,
        hostname: core.description.hostname.clone(),
        table,
        devices,
        runtimes: core.runtimes.clone(),
        board: board.clone(),
        views: core.consensus.views(),
        clock: core.clock.clone(),
        tasks: core.tasks.clone(),
        work: core.work,
    })
    .await?;
    let inputs = agent.inputs();
    let cancel = core.tasks.token();
    core.tasks.spawn("agent", agent.run(cancel.clone()));
    let opener = Arc::new(MeshSessions::new(core.clone()));
    let status = core.consensus.status();
    let session = agent::session::run(opener, status, board, inputs, cancel);
    core.tasks.spawn("session", session);
    Ok(())
}

/// Makes this node the first of a new cluster, unless it is already.
async fn found_cluster(core: &Arc<Core>, bootstrap: &Bootstrap) -> Result<(), AssemblyError> {
    if core.consensus.view().cluster.is_some() {
        return Ok(());
    }
    match core.consensus.bootstrap().await {
        Ok(()) | Err(swarm_raft::Error::AlreadyBootstrapped) => {}
        Err(error) => return Err(error.into()),
    }
    let fault = |error: &dyn std::fmt::Display| AssemblyError::Bootstrap(error.to_string());
    let mut status = core.consensus.status();
    let others_vote = |status: &Status| status.voters.iter().any(|voter| *voter != core.id);
    let leading = status.wait_for(|status| status.is_leader() || others_vote(status));
    match tokio::time::timeout(BOOTSTRAP_PATIENCE, leading).await {
        Ok(Ok(status)) if !status.is_leader() => return Ok(()),
        Ok(Ok(_)) => {}
        Ok(Err(error)) => return Err(fault(&error)),
        Err(error) => return Err(fault(&error)),
    }
    if core.consensus.view().cluster.is_some() {
        return Ok(());
    }
    let availability = bootstrap.availability;
    let op = Op::InitCluster {
        id: core.cluster_id,
        spec: bootstrap.spec.clone(),
        ca_certificate: core.identity.borrow().ca_der().to_vec(),
        node: NewNode {
            id: core.id,
            spec: NodeSpec { role: Role::Manager, availability, labels: BTreeMap::new() },
            description: core.description.clone(),
            addr: core.addr.to_string(),
            token: None,
        },
    };
    let applied = core.consensus.propose(&core.own_command(op)).await?;
    match applied.outcome {
        Ok(_) | Err(swarm_model::outcome::Rejection::AlreadyInitialised) => Ok(()),
        Err(rejection) => Err(fault(&rejection)),
    }
}

/// Keeps the newest events for watchers.
async fn feed(core: Arc<Core>, mut news: broadcast::Receiver<Arc<News>>) {
    let cancel = core.tasks.token();
    loop {
        let item = tokio::select! {
            () = cancel.cancelled() => return,
            item = news.recv() => item,
        };
        let mut feed = core.feed.lock().unwrap_or_else(PoisonError::into_inner);
        match item.as_deref() {
            Ok(News::Applied { events, .. }) => feed.push(events.iter().cloned()),
            Ok(News::Replaced { at }) => *feed = Feed::starting_after(*at),
            Err(RecvError::Lagged(_)) => {
                *feed = Feed::starting_after(core.consensus.view().revision);
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// Lets gossip carry task statuses past a leader that cannot be reached.
#[derive(Debug)]
struct GossipWhisper(Gossip);

impl Whisper for GossipWhisper {
    fn publish(&self, task: TaskId, status: &TaskStatus) {
        let value: Bytes = frame::encode(status);
        // A full map is no harm: the session tells the leader everything.
        if let Err(error) = self.0.publish(StatusKey::Task(task), value) {
            tracing::debug!(task_id = %task, %error, "status not gossiped");
        }
    }

    fn retract(&self, task: TaskId) {
        self.0.retract(StatusKey::Task(task));
    }
}
