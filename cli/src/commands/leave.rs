//! `swarm leave`: this node leaves the cluster; its tasks move first.

use std::path::Path;
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

/// How long the cluster may take to let the node go: its own deadlines are far shorter.
const LEAVE_DEADLINE: Duration = Duration::from_secs(5 * 60);
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
        let socket = client.endpoint().socket();
        let data_dir = socket.parent().unwrap_or(socket);
        let asked =
            client.post_within::<_, Value>("/v1/leave", &[], &request, LEAVE_DEADLINE).await;
        let unsure = match asked {
            Ok(_left) => None,
            Err(failure) if socket.exists() => return Err(failure),
            // The answer may be lost with the daemon that ends: what it leaves behind tells.
            Err(failure) => Some(failure),
        };
        progress.show("left: the daemon ends");
        let ended = has_ended(info.daemon_pid).await;
        match unsure {
            Some(failure) if !is_empty(data_dir) => return Err(failure),
            None if !ended => {
                let message = "the node left the cluster, but its daemon still runs: see its log";
                return Err(Failure::failed(message));
            }
            Some(_) | None => {}
        }
        drop(progress);
        systemd::remove(data_dir);
        line("Node left the cluster.")
    }
}

/// Waits for the end of a process; `false` when it goes on.
async fn has_ended(pid: u32) -> bool {
    let end = Instant::now() + END_DEADLINE;
    while is_alive(pid) {
        if Instant::now() >= end {
            return false;
        }
        sleep(END_PAUSE).await;
    }
    true
}

/// Whether nothing of a node is left in its directory.
fn is_empty(data_dir: &Path) -> bool {
    std::fs::read_dir(data_dir).map_or_else(
        |error| error.kind() == std::io::ErrorKind::NotFound,
        |mut entries| entries.next().is_none(),
    )
}

/// Whether there is such a process; it ends last, after its directory is empty. One that nobody has
/// waited for yet (a zombie) has ended, too, but only with its last thread: that one closes the port.
fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !is_zombie(&stat))
}

/// State and number of threads follow the name, which may hold anything, in parentheses.
fn is_zombie(stat: &str) -> bool {
    let mut rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let state = rest.next().unwrap_or_default();
    // Field 20 of proc(5)'s list, in which the state is field 3.
    let threads: u32 = rest.nth(16).and_then(|text| text.parse().ok()).unwrap_or_default();
    matches!(state, "Z" | "X") && threads <= 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_read_behind_the_name() {
        let stat = |name: &str, state: &str, threads: u32| {
            format!("12 ({name}) {state} 1 12 12 0 -1 4 0 0 0 0 0 0 0 0 20 0 {threads} 0 88 0 0")
        };
        assert!(is_zombie(&stat("swarm", "Z", 1)));
        assert!(!is_zombie(&stat("swarm", "Z", 3)), "threads still hold its files");
        assert!(!is_zombie(&stat("a) Z b", "S", 1)));
        assert!(is_alive(std::process::id()));
    }

    #[test]
    fn a_directory_that_was_emptied_or_removed_holds_no_node() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(is_empty(dir.path()));
        assert!(is_empty(&dir.path().join("gone")));
        std::fs::write(dir.path().join("node.json"), "{}").expect("written");
        assert!(!is_empty(dir.path()));
    }
}
