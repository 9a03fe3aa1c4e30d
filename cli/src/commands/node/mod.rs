//! `swarm node`: the members of the cluster.

mod inspect;
mod ls;
mod ps;
mod rm;
mod role;
pub(crate) mod update;

use clap::Subcommand;
use swarm_model::node::{NodeSpec, Role};
use swarm_node::api::types::{NodeEntry, NodeUpdate, Written};

use crate::client::{Client, encode};
use crate::commands::guard::Guard;
use crate::exit::Failure;
use crate::output;

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
            Self::Promote(command) => role::set(client, command.to, Role::Manager).await,
            Self::Demote(command) => role::set(client, command.to, Role::Worker).await,
            Self::Rm(command) => command.run(client).await,
        }
    }
}

/// The API path of a node.
fn path(reference: &str) -> String {
    format!("/v1/nodes/{}", encode(reference))
}

/// What became of a node that was to be changed.
#[derive(Debug)]
struct Change {
    /// The node as it was.
    before: swarm_model::node::Node,
    /// Whether it is another one now.
    changed: bool,
}

/// Changes a node as it is now; fails with a conflict when somebody else changes it meanwhile. Shows
/// the warnings. The guard follows the change.
async fn change(
    client: &Client,
    reference: &str,
    update: &NodeUpdate,
    guard: &mut Guard,
) -> Result<Change, Failure> {
    let before = client.get::<NodeEntry>(&path(reference), &[]).await?.node;
    let version = before.meta.version.to_string();
    let target = path(&before.id.to_string());
    let query = guard.query(&[("version", &version)]);
    let written: Written = client.post(&format!("{target}/update"), &query, update).await?;
    guard.follow(&written);
    written.warnings.iter().for_each(|warning| output::warning(warning));
    let changed = would_change(&before.spec, update);
    Ok(Change { before, changed })
}

/// Whether `update` makes another spec of `spec`. A drain with a deadline always counts.
fn would_change(spec: &NodeSpec, update: &NodeUpdate) -> bool {
    let mut labels = spec.labels.clone();
    labels.retain(|key, _| !update.labels_remove.contains(key));
    labels.extend(update.labels_add.clone());
    update.role.is_some_and(|role| role != spec.role)
        || update.availability.is_some_and(|availability| availability != spec.availability)
        || update.drain_deadline_ms.is_some()
        || labels != spec.labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_model::node::Availability;

    #[test]
    fn an_update_that_asks_for_what_is_there_changes_nothing() {
        let labels = [("a".to_owned(), "1".to_owned())].into();
        let spec = NodeSpec { role: Role::Manager, availability: Availability::Active, labels };
        let same = NodeUpdate {
            role: Some(Role::Manager),
            labels_add: spec.labels.clone(),
            labels_remove: vec!["no".to_owned()],
            ..NodeUpdate::default()
        };
        assert!(!would_change(&spec, &same));
        assert!(would_change(&spec, &NodeUpdate { role: Some(Role::Worker), ..same.clone() }));
        assert!(would_change(&spec, &NodeUpdate { drain_deadline_ms: Some(1), ..same }));
    }
}
