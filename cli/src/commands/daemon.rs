//! `swarm daemon`: the node itself, as systemd, `init` and `join` start it.

use std::path::Path;

use clap::Args;

use crate::commands::node_options::OfferOptions;
use crate::exit::Failure;
use crate::hosting::backend;

/// Run the node of a data directory (what init and join start)
///
/// Runs the node of the data directory until SIGTERM or SIGINT. Its tasks go on without it; the next
/// daemon takes them over. SWARM_LOG sets what is logged to stderr (default: info).
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm daemon --data-dir /var/lib/swarm\n  \
    swarm daemon --generic-resource licence=2     # what the node offers from now on\n  \
    SWARM_LOG=swarm_raft=debug,info swarm daemon")]
pub(crate) struct Daemon {
    /// Leave the terminal's session first
    #[arg(long, hide = true)]
    new_session: bool,
    #[command(flatten)]
    offers: OfferOptions,
}

impl Daemon {
    /// Runs the node.
    ///
    /// # Errors
    /// Why it could not start, or had to end.
    pub(crate) async fn run(self, data_dir: &Path) -> Result<(), Failure> {
        if self.new_session {
            // Fails when it leads a session already, which is as good.
            let _led = rustix::process::setsid();
        }
        backend::run_daemon(data_dir, &self.offers.offers()).await
    }
}
