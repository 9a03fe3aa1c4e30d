//! `swarm daemon`: a node made of real parts, from its data directory to its socket, and its end.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use swarm_model::clock::Clock;
use swarm_model::id::IdSource;
use swarm_net::ca::Identity;
use swarm_net::gossip::GossipConfig;
use swarm_net::quic::{Mesh, MeshConfig};
use swarm_net::task::TaskGroup;
use swarm_raft::Timing;
use swarm_state::store;
use tokio_util::sync::CancellationToken;

use crate::agent::resources;
use crate::api;
use crate::assembly::{AssemblyError, Parts, assemble};
use crate::clock::{RandomIds, SystemClock};
use crate::config::{self, ConfigError, NodeConfig};
use crate::epoch;
use crate::keys::{KeyError, KeyRing};
use crate::logs::{self, LogStore};
use crate::members::ReplicaMembers;
use crate::node::Node;
use crate::offers::Offers;
use crate::quarantine::{self, OpenError, RealHome};
use crate::recover::{self, Order};
use crate::router::Router;
use crate::runtime::process::{ProcessConfig, ProcessRuntime};
use crate::runtime::{Registry, TaskRuntime};
use crate::setup;
use crate::work::Work;

/// The daemon's process id in the data directory.
pub const PID_FILE: &str = "swarm.pid";
/// Pause before a node that had to stop is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(2);
/// How long the parts of a node may take to end.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// Why a daemon does not run, or stopped running.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Its settings are of no use.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its keys are of no use.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// Its identity or its port is of no use.
    #[error(transparent)]
    Net(#[from] swarm_net::Error),
    /// Its tables are of no use, in use, or another node's.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Its tables are not opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its identity is another node's.
    #[error(
        "the identity in {} belongs to another node than its settings: restore both from one backup, \
         or join the cluster as a new node", dir.display()
    )]
    MixedUp {
        /// The data directory.
        dir: PathBuf,
    },
    /// Task output cannot be kept.
    #[error(transparent)]
    Logs(#[from] logs::Error),
    /// Its parts do not fit.
    #[error(transparent)]
    Assembly(#[from] AssemblyError),
    /// Its socket cannot be served.
    #[error(transparent)]
    Api(#[from] api::BindError),
    /// Something of the system fails.
    #[error("cannot {what}")]
    Io {
        /// What was tried, on what.
        what: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The next life begins at once: on an empty replica, or under another start's number.
    #[error("the node begins anew")]
    BornAgain,
    /// The next life begins without a majority: a person decided so.
    #[error("the node goes on alone")]
    Recovering(Order),
    /// Agreement stopped under way: the disk failed.
    #[error("the node had to stop: {reason}")]
    Fault {
        /// Why.
        reason: String,
    },
}

/// How a daemon ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Because it was asked to. Tasks go on.
    Stopped,
    /// Because its node left or was removed: tasks have ended, the directory is empty.
    Left,
}

/// Runs the node in `dir` until `stop`. A node that had to stop because its disk failed or ran full
/// is started again, for as long as it takes: nobody is on site. `offers` are kept in its settings.
///
/// # Errors
/// See [`DaemonError`]. Tasks go on in any case.
pub async fn run(
    dir: &Path,
    offers: &Offers,
    stop: CancellationToken,
) -> Result<Ended, DaemonError> {
    let mut error = match live(dir, offers, &stop).await {
        Err(error @ (DaemonError::Fault { .. } | DaemonError::BornAgain)) => error,
        other => return other,
    };
    loop {
        // The life before may hold the port for a moment longer: then the next one fails, and is repeated.
        if !matches!(error, DaemonError::BornAgain) {
            tracing::error!(error = &error as &dyn std::error::Error, "trying again in a moment");
            if stop.run_until_cancelled(tokio::time::sleep(RESTART_PAUSE)).await.is_none() {
                return Ok(Ended::Stopped);
            }
        }
        match live(dir, offers, &stop).await {
            Ok(ended) => return Ok(ended),
            // It waits for a person.
            Err(error @ DaemonError::Open(OpenError::Superseded { .. })) => return Err(error),
            Err(next) => error = next,
        }
    }
}

/// One life of the node in `dir`.
async fn live(dir: &Path, offers: &Offers, stop: &CancellationToken) -> Result<Ended, DaemonError> {
    let config = NodeConfig::load(dir)?;
    // Absolute: supervisors and sockets outlive the working directory.
    let dir = fs::canonicalize(dir).map_err(io_error(format!("use {}", dir.display())))?;
    let identity = Identity::load(&dir)?;
    if identity.node_id() != config.node_id || identity.cluster_id() != config.cluster_id {
        return Err(DaemonError::MixedUp { dir });
    }
    if epoch::fence(&dir)?.is_some() {
        end_tasks(&dir).await;
    }
    let tasks = TaskGroup::new();
    let ended = serve(&dir, config, offers, identity, &tasks, stop).await;
    // A life that failed to start must not keep the port and the tables from the next one.
    for task in tasks.shutdown(SHUTDOWN).await {
        tracing::warn!(task, "did not end in time");
    }
    if let Err(DaemonError::Recovering(order)) = ended {
        let performed = Work::Threads.run(move || recover::perform(&dir, &order)).await;
        if let Err(error) = performed {
            // The replica is as it was: so is the next life.
            tracing::error!(error = &error as &dyn std::error::Error, "not recovered");
        }
        return Err(DaemonError::BornAgain);
    }
    if matches!(ended, Ok(Ended::Left)) {
        end_tasks(&dir).await;
        setup::clear(&dir).map_err(io_error(format!("empty {}", dir.display())))?;
    }
    ended
}

/// Starts the node, serves, and stops it; `tasks` may still run afterwards.
async fn serve(
    dir: &Path,
    config: NodeConfig,
    offers: &Offers,
    identity: Identity,
    tasks: &TaskGroup,
    stop: &CancellationToken,
) -> Result<Ended, DaemonError> {
    let (node, mesh) = start(dir, config, offers, identity, tasks).await?;
    let pid_file = dir.join(PID_FILE);
    let pid = std::process::id().to_string();
    fs::write(&pid_file, pid).map_err(io_error(format!("write {}", pid_file.display())))?;
    let core = node.core().clone();
    let server = api::Server::bind(&dir.join(api::SOCKET_NAME))?;
    tasks.spawn("api", server.run(Arc::new(node), tasks.clone()));
    core.tasks.spawn("certificate", follow_identity(mesh.clone(), core.clone()));
    tracing::info!(node_id = %core.id, addr = %core.addr, "serving");

    let mut status = core.consensus.status();
    let fault = status.wait_for(|status| status.fault.is_some());
    let ended = tokio::select! {
        () = stop.cancelled() => Ok(Ended::Stopped),
        () = core.dismissed.cancelled() => Ok(Ended::Left),
        () = core.born_again.cancelled() => Err(reborn(&core)),
        () = core.broken_disk.cancelled() => Err(DaemonError::Fault {
            reason: core.disk_fault.check().err().map(|e| e.to_string()).unwrap_or_default(),
        }),
        fault = fault => Err(DaemonError::Fault {
            reason: fault.ok().and_then(|s| s.fault.clone()).unwrap_or_default(),
        }),
    };
    tracing::info!("stopping");
    if !core.dismissed.is_cancelled() {
        core.consensus.shutdown().await;
    }
    mesh.close().await;
    drop(fs::remove_file(&pid_file));
    ended
}

/// What the next life begins with.
fn reborn(core: &crate::core::Core) -> DaemonError {
    let order = core.order.lock().unwrap_or_else(PoisonError::into_inner).take();
    order.map_or(DaemonError::BornAgain, DaemonError::Recovering)
}

async fn start(
    dir: &Path,
    config: NodeConfig,
    offers: &Offers,
    identity: Identity,
    tasks: &TaskGroup,
) -> Result<(Node, Mesh), DaemonError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let peers = config::load_peers(dir)?;
    let (store, _quarantine) = quarantine::open(dir, !peers.is_empty(), &RealHome(dir))?;
    store.meta.claim(store::Identity { cluster: config.cluster_id, node: config.node_id })?;
    // Only now is it sure that no other daemon runs here.
    let config = config.offering(dir, offers)?;
    let keys = KeyRing::open(dir)?;
    let members = Arc::new(ReplicaMembers::default());
    let router = Arc::new(Router::default());
    let mesh = Mesh::bind(MeshConfig {
        listen: config.listen,
        identity: identity.clone(),
        members: members.clone(),
        handler: router.clone(),
        tasks: tasks.clone(),
        clock: clock.clone(),
    })?;
    let logs = LogStore::open(dir.join("logs"))?;
    let alone = peers.is_empty();
    let node = assemble(Parts {
        description: resources::describe(config.labels.clone(), config.offers.counts()),
        peers,
        runtimes: Registry::new([process_runtime(dir, &logs, &clock)]),
        config,
        identity,
        keys,
        data_dir: dir.to_owned(),
        clock,
        ids: Box::new(RandomIds),
        store,
        transport: Arc::new(mesh.clone()),
        members,
        router,
        logs,
        timing: Timing::LAN,
        gossip: GossipConfig::default(),
        tasks: tasks.clone(),
        work: Work::Threads,
        seed: u64::try_from(RandomIds.draw() >> 64).unwrap_or_default(),
    })
    .await;
    match node {
        Ok(node) => Ok((node, mesh)),
        Err(error) => match quarantine::loss_in(&error).filter(|_| !alone) {
            Some(reason) => {
                quarantine::impose(dir, &reason)?;
                Err(DaemonError::BornAgain)
            }
            None => Err(error.into()),
        },
    }
}

fn process_runtime(dir: &Path, logs: &LogStore, clock: &Arc<dyn Clock>) -> Arc<dyn TaskRuntime> {
    Arc::new(ProcessRuntime::new(ProcessConfig::new(dir, logs.clone(), clock.clone())))
}

/// New connections show the renewed certificate.
async fn follow_identity(mesh: Mesh, core: Arc<crate::core::Core>) {
    let mut identity = core.identity.subscribe();
    let cancel = core.tasks.token();
    while let Some(Ok(())) = cancel.run_until_cancelled(identity.changed()).await {
        let renewed = identity.borrow_and_update().clone();
        if let Err(error) = mesh.set_identity(&renewed) {
            tracing::error!(%error, "the renewed certificate is not usable");
        }
    }
}

/// A node that belongs to no cluster runs nothing.
async fn end_tasks(dir: &Path) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let Ok(logs) = LogStore::open(dir.join("logs")) else { return };
    let runtime = process_runtime(dir, &logs, &clock);
    let found = match runtime.adopt().await {
        Ok(found) => found,
        Err(error) => {
            tracing::error!(%error, "cannot find the tasks that still run");
            return;
        }
    };
    for adopted in found {
        let kill = swarm_model::runtime::Signal::KILL;
        let stopped = runtime.stop(adopted.task, kill, Duration::ZERO).await;
        if let Err(error) = stopped.and(runtime.remove(adopted.task).await) {
            tracing::error!(task_id = %adopted.task, %error, "a task could not be ended");
        }
    }
}

fn io_error(what: String) -> impl FnOnce(io::Error) -> DaemonError {
    move |source| DaemonError::Io { what, source }
}
