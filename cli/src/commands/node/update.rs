//! `swarm node update`.

use std::time::Duration;

use clap::Args;
use swarm_model::node::{Availability, Role};
use swarm_node::api::types::NodeUpdate;

use super::change;
use crate::client::Client;
use crate::commands::guard::Guard;
use crate::commands::label_changes::LabelChanges;
use crate::exit::Failure;
use crate::output::{line, note};
use crate::parse::duration;

/// Change a node's availability, role or labels
///
/// drain moves the node's tasks elsewhere, each replacement first; pause only takes no new ones.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm node update --availability drain --deadline 5m NODE\n  \
    swarm node update --label-add zone=a --label-rm old NODE")]
pub(crate) struct Update {
    #[command(flatten)]
    options: NodeChanges,
    #[command(flatten)]
    guard: Guard,
}

// What is to be changed of a node.
#[derive(Debug, Args)]
pub(crate) struct NodeChanges {
    /// Id, host name, or self
    pub(crate) node: String,
    /// Whether it takes tasks: active, pause or drain
    #[arg(long, value_name = "WORD")]
    availability: Option<Availability>,
    /// With --availability drain: stop tasks after this time even when no replacement runs yet
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, requires = "availability")]
    deadline: Option<Duration>,
    /// worker or manager
    #[arg(long, value_name = "WORD")]
    role: Option<Role>,
    #[command(flatten)]
    labels: LabelChanges,
}

impl Update {
    /// Changes the node and shows its id.
    ///
    /// # Errors
    /// What the node refused: not found, changed meanwhile, the last manager.
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        let reference = self.options.node.clone();
        let update = self.options.declared()?;
        let mut guard = self.guard;
        let change = change(client, &reference, &update, &mut guard).await?;
        if !change.changed {
            note(&format!("node {reference} is like that already"));
        }
        line(&change.before.id.to_string())
    }
}

impl NodeChanges {
    /// The change as the node is told.
    ///
    /// # Errors
    /// When options do not go together, or nothing is to change.
    pub(crate) fn declared(self) -> Result<NodeUpdate, Failure> {
        if self.deadline.is_some() && self.availability != Some(Availability::Drain) {
            return Err(Failure::usage("--deadline belongs to --availability drain"));
        }
        let update = NodeUpdate {
            role: self.role,
            availability: self.availability,
            labels_add: self.labels.label_add.into_iter().collect(),
            labels_remove: self.labels.label_rm,
            drain_deadline_ms: self.deadline.map(duration::millis),
        };
        if update == NodeUpdate::default() {
            return Err(Failure::usage("nothing to change: see `swarm node update --help`"));
        }
        Ok(update)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: NodeChanges,
    }

    fn declared(line: &str) -> Result<NodeUpdate, String> {
        let line = Line::try_parse_from(line.split(' ')).map_err(|error| error.to_string())?;
        line.options.declared().map_err(|failure| failure.to_string())
    }

    #[test]
    fn labels_are_added_and_removed_and_nothing_else_changes() {
        let asked =
            "update --label-add zone=a --label-add rack=r=7 --label-rm old --label-rm x self";
        let expect = NodeUpdate {
            labels_add: [("zone", "a"), ("rack", "r=7")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            labels_remove: vec!["old".to_owned(), "x".to_owned()],
            ..NodeUpdate::default()
        };
        assert_eq!(declared(asked), Ok(expect));
    }

    #[test]
    fn nothing_to_change_a_label_without_a_key_and_a_deadline_alone_are_refused() {
        for line in ["update self", "update --label-add =a self", "update --deadline 5s self"] {
            assert!(declared(line).is_err(), "{line}");
        }
    }
}
