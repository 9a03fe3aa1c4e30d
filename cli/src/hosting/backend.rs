//! The one place where commands meet the node's own code: preparing, running, cleaning up.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use swarm_model::clock::Clock as _;
use swarm_model::id::IdSource as _;
use swarm_model::runtime::Signal;
use swarm_net::ca::JoinToken;
use swarm_node::api::types::RecoveryReport;
use swarm_node::backup::Backup;
use swarm_node::clock::{RandomIds, SystemClock};
use swarm_node::config::ConfigError;
use swarm_node::daemon;
use swarm_node::logs::LogStore;
use swarm_node::offers::Offers;
use swarm_node::recover::{self, RecoverError};
use swarm_node::restore::{self, RestoreError, RestoreOptions, Restored};
use swarm_node::runtime::process::{ProcessConfig, ProcessRuntime};
use swarm_node::runtime::{AdoptedState, TaskRuntime as _};
use swarm_node::setup::{self, InitOptions, JoinOptions, Prepared, SetupError};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::{Exit, Failure};

/// How long tasks of a discarded node have to end.
const TASK_GRACE: Duration = Duration::from_secs(3);

/// Prepares the first node of a new cluster.
///
/// # Errors
/// Why not; the directory is as it was.
pub(crate) fn init(options: &InitOptions) -> Result<Prepared, Failure> {
    setup::init(options, &SystemClock, &mut || RandomIds.draw()).map_err(|error| failure(&error))
}

/// Prepares a new node of an existing cluster.
///
/// # Errors
/// Why not; the directory is as it was.
pub(crate) async fn join(options: &JoinOptions) -> Result<Prepared, Failure> {
    setup::join(options, Arc::new(SystemClock)).await.map_err(|error| failure(&error))
}

/// Reads a join token.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn token(text: &str) -> Result<JoinToken, String> {
    text.parse().map_err(|error: swarm_net::Error| error.to_string())
}

/// What a stopped node holds, and what going on alone would lose.
///
/// # Errors
/// Why it cannot; a conflict while its daemon runs.
pub(crate) fn examine(data_dir: &Path) -> Result<RecoveryReport, Failure> {
    recover::examine(data_dir).map_err(|error| unrecovered(&error))
}

/// Makes a stopped node the only voter of its cluster.
///
/// # Errors
/// Why it cannot; a conflict while its daemon runs.
pub(crate) fn force(data_dir: &Path) -> Result<RecoveryReport, Failure> {
    let draw = u64::try_from(RandomIds.draw() >> 64).unwrap_or_default();
    let forced = recover::force(data_dir, SystemClock.now(), draw);
    forced.map(|(report, _epoch)| report).map_err(|error| unrecovered(&error))
}

fn unrecovered(error: &RecoverError) -> Failure {
    let exit = match error {
        RecoverError::Config(ConfigError::NoNode { .. }) => Exit::NotFound,
        RecoverError::Running { .. } | RecoverError::Unfit { .. } | RecoverError::Rejected(_) => {
            Exit::Conflict
        }
        RecoverError::Config(_)
        | RecoverError::Keys(_)
        | RecoverError::Store(_)
        | RecoverError::Replica { .. } => Exit::Failed,
    };
    Failure::new(exit, chain(error))
}

/// Founds a cluster from a backup that was checked.
///
/// # Errors
/// Why not; the directory is as it was.
pub(crate) fn restore(options: &RestoreOptions, backup: &Backup) -> Result<Restored, Failure> {
    let restored = restore::restore(options, backup, &SystemClock, &mut || RandomIds.draw());
    restored.map_err(|error| match &error {
        RestoreError::Setup(error) => failure(error),
        RestoreError::Store(_)
        | RestoreError::State { .. }
        | RestoreError::Rejected(_)
        | RestoreError::Unverified { .. } => Failure::failed(chain(&error)),
    })
}

fn failure(error: &SetupError) -> Failure {
    let exit = match error {
        SetupError::Occupied { .. } | SetupError::Busy { .. } | SetupError::PortInUse { .. } => {
            Exit::Conflict
        }
        SetupError::NotEmpty { .. } | SetupError::NotDirectory { .. } | SetupError::Spec(_) => {
            Exit::Usage
        }
        SetupError::Net(error) => match error {
            swarm_net::Error::Token { .. } => Exit::Usage,
            swarm_net::Error::PortInUse { .. } => Exit::Conflict,
            swarm_net::Error::Unreachable { .. } | swarm_net::Error::NoAnswer { .. } => {
                Exit::Unreachable
            }
            // No leader, in spite of all patience.
            swarm_net::Error::Refused(refusal) if refusal.code.is_temporary() => Exit::Unreachable,
            _ => Exit::Failed,
        },
        SetupError::Dir { .. }
        | SetupError::Listen { .. }
        | SetupError::Answer(_)
        | SetupError::Config(_)
        | SetupError::Keys(_) => Exit::Failed,
    };
    Failure::new(exit, chain(error))
}

/// An error with its sources, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

/// Runs the daemon of a data directory until SIGTERM or SIGINT. Tasks go on without it.
///
/// # Errors
/// Why it could not start, or why it had to end.
pub(crate) async fn run_daemon(data_dir: &Path, offers: &Offers) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("cannot watch signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let stop = CancellationToken::new();
    let mut node = Box::pin(daemon::run(data_dir, offers, stop.clone()));
    let ended = tokio::select! {
        ended = &mut node => Some(ended),
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            stop.cancel();
            node.await
        }
    };
    ended.map(drop).map_err(|error| Failure::failed(chain(&error)))
}

/// Empties the directory of a node that never served.
pub(crate) fn discard(data_dir: &Path) {
    // The directory was empty or absent before; what cannot be removed is named by the next attempt.
    let _emptied = setup::clear(data_dir);
    let _removed = std::fs::remove_dir(data_dir);
}

/// Ends all tasks of a data directory whose daemon has ended: each by its own record.
///
/// # Errors
/// When they cannot be found.
pub(crate) async fn stop_tasks(data_dir: &Path) -> Result<(), Failure> {
    let failed = |error: &dyn std::error::Error| Failure::failed(chain(error));
    let logs = LogStore::open(data_dir.join("logs")).map_err(|error| failed(&error))?;
    let runtime = ProcessRuntime::new(ProcessConfig::new(data_dir, logs, Arc::new(SystemClock)));
    let adopted = runtime.adopt().await.map_err(|error| failed(&error))?;
    let ends = adopted.into_iter().map(|adopted| {
        let task = adopted.task;
        let stop = match adopted.state {
            AdoptedState::Running { .. } => Some(runtime.stop(task, Signal::TERM, TASK_GRACE)),
            AdoptedState::Exited(_) | AdoptedState::Lost { .. } => None,
        };
        let remove = runtime.remove(task);
        async move {
            if let Some(stop) = stop {
                stop.await?;
            }
            remove.await
        }
    });
    let ends = futures::future::join_all(ends).await;
    ends.into_iter().collect::<Result<(), _>>().map_err(|error| failed(&error))
}
