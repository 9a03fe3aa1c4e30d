//! `swarm leave`: this node leaves the cluster; its tasks move first.

use std::time::Duration;

use clap::Args;
use serde_json::Value;
use swarm_node::api::types::LeaveRequest;
use tokio::time::{Instant, sleep};

use crate::client::Client;
use crate::exit::Failure;
use crate::hosting::systemd;
use crate::output::line;
use crate::output::progress::Progress;

/// Moving tasks takes as long as they need to start elsewhere.
const LEAVE_DEADLINE: Duration = Duration::from_secs(15 * 60);
/// How long the daemon may take to end once it has left.
const END_DEADLINE: Duration = Duration::from_secs(30);
/// Pause between two looks whether it ended.
const END_PAUSE: Duration = Duration::from_millis(20);

/// Options of `swarm leave`.
///
/// The node's tasks are started elsewhere, then it leaves, its daemon ends and its data directory
/// holds nothing of the cluster any more.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm leave\n  \
    swarm leave --force        # also as the last manager: ends the cluster")]
pub(crate) struct Leave {
    /// Also as the last manager, or when the cluster cannot be reached
    #[arg(short, long)]
    force: bool,
}

impl Leave {
    /// Leaves, and waits until the daemon has ended.
    ///
    /// # Errors
    /// When the node refuses (the last manager without --force) or does not answer.
    pub(crate) async fn run(self, client: &Client) -> Result<(), Failure> {
        let progress = Progress::new(false);
        progress.show("leaving: tasks are moved to other nodes");
        let request = LeaveRequest { force: self.force };
        let _left: Value = client.post_within("/v1/leave", &[], &request, LEAVE_DEADLINE).await?;
        progress.show("left: the daemon ends");
        let end = Instant::now() + END_DEADLINE;
        while tokio::net::UnixStream::connect(client.endpoint().socket()).await.is_ok() {
            if Instant::now() >= end {
                let message = "the node left the cluster, but its daemon still runs: see its log";
                return Err(Failure::failed(message));
            }
            sleep(END_PAUSE).await;
        }
        drop(progress);
        if let Some(data_dir) = client.endpoint().socket().parent() {
            systemd::remove(data_dir);
        }
        line("Node left the cluster.")
    }
}
