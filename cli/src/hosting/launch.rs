//! Starts a node's daemon in the background and waits until it serves.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use swarm_node::setup::DAEMON_LOG;
use tokio::time::{Instant, sleep};

use super::{daemon_log, systemd};
use crate::client::{Client, Endpoint};
use crate::exit::{Exit, Failure};

/// How long a daemon may take until it serves.
const SERVE_WITHIN: Duration = Duration::from_secs(30);
/// How long a daemon may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// Pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// A daemon that was started here.
#[derive(Debug)]
pub(crate) enum Daemon {
    /// A process in a session of its own.
    Process(Child),
    /// A systemd unit.
    Unit,
}

/// Starts the daemon of a prepared data directory: as a systemd unit where `use_systemd` and systemd
/// agree, otherwise as a process in a session of its own that writes to `daemon.log`.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn start(data_dir: &Path, use_systemd: bool) -> Result<Daemon, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::failed(format!("cannot find this program's file: {error}")))?;
    if use_systemd && systemd::is_in_charge() {
        return systemd::install(&program, data_dir).map(|()| Daemon::Unit);
    }
    let log = data_dir.join(DAEMON_LOG);
    let failed = |error| Failure::failed(format!("cannot open {}: {error}", log.display()));
    let file = OpenOptions::new().create(true).append(true).open(&log).map_err(failed)?;
    let stderr = file.try_clone().map_err(failed)?;
    Command::new(&program)
        .arg("daemon")
        .arg("--new-session")
        .arg("--data-dir")
        .arg(data_dir)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(stderr)
        .spawn()
        .map(Daemon::Process)
        .map_err(|error| Failure::failed(format!("cannot start {}: {error}", program.display())))
}

/// Waits until the daemon of `data_dir` answers.
///
/// # Errors
/// What it said last when it died; the time-out when it does not answer.
pub(crate) async fn wait_until_serving(
    daemon: &mut Daemon,
    data_dir: &Path,
) -> Result<Client, Failure> {
    let client = Client::new(Endpoint::of_data_dir(data_dir));
    let end = Instant::now() + SERVE_WITHIN;
    loop {
        if client.get::<Value>("/v1/ping", &[]).await.is_ok() {
            return Ok(client);
        }
        if let Some(how) = daemon.has_ended(data_dir) {
            let said = daemon_log::last_words(data_dir);
            let said = if said.is_empty() { how } else { said };
            return Err(Failure::failed(format!("the node's daemon does not start: {said}")));
        }
        if Instant::now() >= end {
            let said = daemon_log::last_words(data_dir);
            let message = format!("the node's daemon does not answer; it said last: {said}");
            return Err(Failure::new(Exit::TimedOut, message));
        }
        sleep(LOOK_PAUSE).await;
    }
}

impl Daemon {
    /// How it ended, when it did.
    pub(crate) fn has_ended(&mut self, data_dir: &Path) -> Option<String> {
        match self {
            Self::Process(child) => match child.try_wait() {
                Ok(None) => None,
                Ok(Some(status)) => Some(format!("it ended with {status}")),
                Err(error) => Some(error.to_string()),
            },
            Self::Unit if systemd::is_active(data_dir) => None,
            Self::Unit => Some("its systemd unit is not active".to_owned()),
        }
    }

    /// Asks it to end, and makes it end when it does not in time.
    pub(crate) async fn stop(&mut self, data_dir: &Path) {
        let Self::Process(child) = self else {
            systemd::remove(data_dir);
            return;
        };
        let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let (Ok(None), Some(pid)) = (child.try_wait(), pid) {
            // Not reaped yet, so the id is still its own.
            let _gone = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let end = Instant::now() + STOP_WITHIN;
        while matches!(child.try_wait(), Ok(None)) {
            if Instant::now() >= end {
                let _gone = child.kill();
                let _status = child.wait();
                return;
            }
            sleep(LOOK_PAUSE).await;
        }
    }
}
