//! `swarm node`: the members of the cluster.

mod inspect;
mod ls;
mod ps;
mod rm;
mod role;
mod update;

use clap::Subcommand;
use swarm_model::node::Role;
use swarm_node::api::types::{NodeEntry, NodeUpdate, Written};

use crate::client::{Client, encode};
use crate::exit::Failure;

/// Manage nodes
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    swarm node ls\n  \
    swarm node update --availability drain NODE\n  \
    swarm node promote NODE")]
pub(crate) enum Node {
    #[command(visible_alias = "list")]
    Ls(ls::Ls),
    Inspect(inspect::Inspect),
    Ps(ps::Ps),
    Update(update::Update),
    Promote(role::Promote),
    Demote(role::Demote),
    #[command(visible_alias = "remove")]
    Rm(rm::Rm),
}

impl Node {
    /// Does what the command line says.
    ///
    /// # Errors
    /// What the node refused, or that it does not answer.
    pub(crate) async fn run(self, client: &Client) -> Result<(), Failure> {
        match self {
            Self::Ls(command) => command.run(client).await,
            Self::Inspect(command) => command.run(client).await,
            Self::Ps(command) => command.run(client).await,
            Self::Update(command) => command.run(client).await,
            Self::Promote(command) => role::set(client, &command.nodes, Role::Manager).await,
            Self::Demote(command) => role::set(client, &command.nodes, Role::Worker).await,
            Self::Rm(command) => command.run(client).await,
        }
    }
}

/// The API path of a node.
fn path(reference: &str) -> String {
    format!("/v1/nodes/{}", encode(reference))
}

/// Changes a node as it is now; fails with a conflict when somebody else changes it meanwhile.
async fn change(client: &Client, reference: &str, update: &NodeUpdate) -> Result<(), Failure> {
    let node: NodeEntry = client.get(&path(reference), &[]).await?;
    let version = node.node.meta.version.to_string();
    let target = format!("{}/update", path(&node.node.id.to_string()));
    let _written: Written = client.post(&target, &[("version", &version)], update).await?;
    Ok(())
}
