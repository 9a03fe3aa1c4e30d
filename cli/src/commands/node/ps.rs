//! `swarm node ps`.

use clap::Args;
use swarm_node::api::types::{NodeEntry, TaskEntry};

use super::path;
use crate::client::Client;
use crate::commands::{list_query, stale_query, tasks};
use crate::exit::Failure;
use crate::output::list::{self, ListOptions, filters_json};

/// List the tasks of nodes
///
/// Filters: id, name, label, desired-state.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm node ps\n  \
    swarm node ps NODE --filter desired-state=running")]
pub(crate) struct Ps {
    /// Ids or host names; this node when absent
    #[arg(value_name = "NODE", default_value = "self")]
    nodes: Vec<String>,
    #[command(flatten)]
    list: ListOptions,
}

impl Ps {
    /// Lists the tasks.
    ///
    /// # Errors
    /// When a node does not exist, or no node answers.
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        let mut filters = self.list.filters.clone();
        for reference in &self.nodes {
            let stale = stale_query(self.list.stale);
            let node: NodeEntry = client.get(&path(reference), stale).await?;
            filters.push(("node".to_owned(), node.node.id.to_string()));
        }
        let filters = filters_json(&filters);
        let query = list_query(filters.as_deref(), self.list.stale);
        let tasks: Vec<TaskEntry> = client.get("/v1/tasks", &query).await?;
        list::show(&tasks::rows(tasks), &tasks::COLUMNS, &self.list.show)
    }
}
