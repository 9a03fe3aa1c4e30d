//! `swarm node rm`.

use clap::Args;

use super::path;
use crate::client::Client;
use crate::commands::guard::Guard;
use crate::exit::{Failure, for_each};
use crate::output::line;

/// Remove nodes from the cluster
///
/// A node that is down is forgotten; its id never comes back. --force also cuts off a node that is up.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  swarm node rm NODE\n  swarm node rm --force NODE")]
pub(crate) struct Rm {
    /// Ids or host names
    #[arg(required = true, value_name = "NODE")]
    nodes: Vec<String>,
    /// Also a node that is up: it is cut off at once
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    guard: Guard,
}

impl Rm {
    /// Removes the nodes and shows what was named.
    ///
    /// # Errors
    /// As the first node that failed; the others are removed.
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        let query: &[(&str, &str)] = if self.force { &[("force", "true")] } else { &[] };
        let mut guard = self.guard;
        for_each(&self.nodes, async |node| {
            guard.follow(&client.delete(&path(&node), &guard.query(query)).await?);
            line(&node)
        })
        .await
    }
}
