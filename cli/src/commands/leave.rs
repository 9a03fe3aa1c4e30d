//! `swarm leave`: this node leaves the cluster; its tasks move first.

use std::time::Duration;

use clap::Args;
use serde_json::Value;
use swarm_node::api::types::{Info, LeaveRequest};
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

/// Leave the cluster with this node
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
        let info: Info = client.get("/v1/info", &[]).await?;
        let request = LeaveRequest { force: self.force };
        let _left: Value = client.post_within("/v1/leave", &[], &request, LEAVE_DEADLINE).await?;
        progress.show("left: the daemon ends");
        let end = Instant::now() + END_DEADLINE;
        while is_alive(info.daemon_pid) {
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

/// Whether there is such a process; it ends last, after its directory is empty. One that nobody has
/// waited for yet (a zombie) has ended, too.
fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !is_zombie(&stat))
}

/// The state follows the name, which may hold anything, in parentheses.
fn is_zombie(stat: &str) -> bool {
    let state = stat.rsplit_once(')').map_or("", |(_, rest)| rest.trim_start());
    state.starts_with(['Z', 'X'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_read_behind_the_name() {
        assert!(is_zombie("12 (swarm) Z 1 12 12 0"));
        assert!(!is_zombie("12 (a) Z b) S 1 12 12 0"));
        assert!(is_alive(std::process::id()));
    }
}
