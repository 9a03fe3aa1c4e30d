//! From a prepared data directory to a serving node: in the background, or in this very process.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use swarm_model::node::Reachability;
use swarm_node::api::types::{NodeEntry, TokenAnswer};
use swarm_node::offers::Offers;
use tokio::time::{Instant, sleep};

use super::{backend, launch};
use crate::client::{Client, Endpoint};
use crate::exit::{Exit, Failure};

/// How long a new cluster may take to have a leader.
const LEADER_WITHIN: Duration = Duration::from_secs(15);
/// Pause between two looks.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// How long a new node may take to be counted on.
const READY_WITHIN: Duration = Duration::from_secs(5);

/// Starts the daemon in the background. When it does not serve, nothing of the node is left.
///
/// # Errors
/// What the daemon said last.
pub(crate) async fn in_background(
    data_dir: &Path,
    use_systemd: bool,
) -> Result<(Client, launch::Daemon), Failure> {
    let started = launch::start(data_dir, use_systemd);
    let failure = match started {
        Err(failure) => failure,
        Ok(mut daemon) => match launch::wait_until_serving(&mut daemon, data_dir).await {
            Ok(client) => return Ok((client, daemon)),
            Err(failure) => {
                daemon.stop(data_dir).await;
                failure
            }
        },
    };
    backend::discard(data_dir);
    Err(failure)
}

/// Waits until the cluster counts on this node, so that the next command finds it. A cluster that is
/// slow to notice is no failure: the node is a member all the same.
pub(crate) async fn until_ready(client: &Client) {
    let end = Instant::now() + READY_WITHIN;
    while Instant::now() < end {
        let node = client.get::<NodeEntry>("/v1/nodes/self", &[("stale", "true")]).await;
        if node.is_ok_and(|entry| entry.node.status.reachability == Reachability::Ready) {
            return;
        }
        sleep(LOOK_PAUSE).await;
    }
}

/// Runs the daemon in this process until it is told to end; `announce` runs when it serves.
///
/// # Errors
/// Why the daemon ended, or why the announcement failed. A node that never served is discarded.
pub(crate) async fn in_foreground(
    data_dir: &Path,
    announce: impl AsyncFnOnce(&Client) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (result, served) = run_and_announce(data_dir, announce).await;
    if result.is_err() && !served {
        backend::discard(data_dir);
    }
    result
}

/// As [`in_foreground`], but the directory stays whatever happens: others may follow its node.
///
/// # Errors
/// Why the daemon ended, or why the announcement failed.
pub(crate) async fn in_foreground_kept(
    data_dir: &Path,
    announce: impl AsyncFnOnce(&Client) -> Result<(), Failure>,
) -> Result<(), Failure> {
    run_and_announce(data_dir, announce).await.0
}

/// How it ended, and whether it served before.
async fn run_and_announce(
    data_dir: &Path,
    announce: impl AsyncFnOnce(&Client) -> Result<(), Failure>,
) -> (Result<(), Failure>, bool) {
    let client = Client::new(Endpoint::of_data_dir(data_dir));
    let mut served = false;
    let announcing = async {
        while client.get::<Value>("/v1/ping", &[]).await.is_err() {
            sleep(LOOK_PAUSE).await;
        }
        served = true;
        announce(&client).await?;
        std::future::pending().await
    };
    let no_offers = Offers::default();
    let result = tokio::select! {
        result = Box::pin(backend::run_daemon(data_dir, &no_offers)) => result,
        result = announcing => result,
    };
    (result, served)
}

/// A standing join token, as soon as the cluster has a leader.
///
/// # Errors
/// What the node refuses, or that there is no leader in time.
pub(crate) async fn token(client: &Client, role: &str) -> Result<TokenAnswer, Failure> {
    let end = Instant::now() + LEADER_WITHIN;
    loop {
        match client.get(&format!("/v1/tokens/{role}"), &[]).await {
            Err(failure) if failure.exit == Exit::Unreachable && Instant::now() < end => {
                sleep(LOOK_PAUSE).await;
            }
            other => return other,
        }
    }
}
