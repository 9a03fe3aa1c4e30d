//! `swarm node promote` and `swarm node demote`.

use clap::Args;
use swarm_model::node::Role;
use swarm_node::api::types::NodeUpdate;

use super::change;
use crate::client::Client;
use crate::commands::guard::Guard;
use crate::exit::{Failure, for_each};
use crate::output::line;

/// Make workers managers
///
/// Of the managers an odd number votes; the others replace a voter that is gone.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  swarm node promote NODE")]
pub(crate) struct Promote {
    #[command(flatten)]
    pub(super) to: Nodes,
}

/// Make managers workers
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  swarm node demote NODE")]
pub(crate) struct Demote {
    #[command(flatten)]
    pub(super) to: Nodes,
}

// Who gets the role.
#[derive(Debug, Args)]
pub(crate) struct Nodes {
    /// Ids or host names
    #[arg(required = true, value_name = "NODE")]
    nodes: Vec<String>,
    #[command(flatten)]
    guard: Guard,
}

/// Gives the nodes a role.
///
/// # Errors
/// As the first node that failed; the others are changed.
pub(super) async fn set(client: &Client, to: Nodes, role: Role) -> Result<(), Failure> {
    let Nodes { nodes, mut guard } = to;
    for_each(&nodes, async |node| {
        let update = NodeUpdate { role: Some(role), ..NodeUpdate::default() };
        let change = change(client, &node, &update, &mut guard).await?;
        let (id, name) = (change.before.id, change.before.description.hostname);
        let word = if change.changed { "now" } else { "already" };
        line(&format!("Node {id} ({name}) is a {role} {word}."))
    })
    .await
}
