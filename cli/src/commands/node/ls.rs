//! `swarm node ls`.

use clap::Args;
use serde::Serialize;
use swarm_node::api::types::NodeEntry;

use crate::client::Client;
use crate::commands::list_query;
use crate::exit::Failure;
use crate::output::list::{self, Column, Cut, ListOptions, Row};

/// List the nodes
///
/// The node that answers is marked with a star. Filters: id, name, label (of both kinds), node.label,
/// engine.label, role, availability, membership (all are accepted).
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm node ls\n  \
    swarm node ls --filter role=manager --format '{{.Hostname}} {{.ManagerStatus}}'")]
pub(crate) struct Ls {
    #[command(flatten)]
    list: ListOptions,
}

const COLUMNS: [Column; 6] = [
    ("ID", "ID", Cut::Id),
    ("Hostname", "HOSTNAME", Cut::No),
    ("Status", "STATUS", Cut::No),
    ("Availability", "AVAILABILITY", Cut::No),
    ("ManagerStatus", "MANAGER STATUS", Cut::No),
    ("Version", "VERSION", Cut::No),
];

/// One node of the list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct NodeRow {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Self")]
    is_self: bool,
    hostname: String,
    status: String,
    availability: String,
    role: String,
    manager_status: String,
    voter: bool,
    quarantine: String,
    addr: String,
    version: String,
}

impl Row for NodeRow {
    fn cell(&self, field: &str) -> Option<String> {
        (field == "ID" && self.is_self).then(|| format!("{} *", self.id))
    }
}

impl From<NodeEntry> for NodeRow {
    fn from(entry: NodeEntry) -> Self {
        let node = entry.node;
        Self {
            id: node.id.to_string(),
            is_self: entry.is_self,
            hostname: node.description.hostname,
            status: node.status.reachability.to_string(),
            availability: capitalised(&node.spec.availability.to_string()),
            role: node.spec.role.to_string(),
            manager_status: match &entry.quarantine {
                Some(_) => "Quarantined".to_owned(),
                None => entry.manager_status.map(|s| format!("{s:?}")).unwrap_or_default(),
            },
            voter: entry.voter,
            quarantine: entry.quarantine.unwrap_or_default(),
            addr: node.status.addr,
            version: node.description.version,
        }
    }
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

impl Ls {
    /// Lists the nodes, by host name.
    ///
    /// # Errors
    /// When no node answers or a filter is unknown.
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        let filters = self.list.query();
        let query = list_query(filters.as_deref(), self.list.stale);
        let mut nodes: Vec<NodeEntry> = client.get("/v1/nodes", &query).await?;
        nodes.sort_by(|a, b| {
            let key = |entry: &NodeEntry| (entry.node.description.hostname.clone(), entry.node.id);
            key(a).cmp(&key(b))
        });
        let rows: Vec<_> = nodes.into_iter().map(NodeRow::from).collect();
        list::show(&rows, &COLUMNS, &self.list.show)
    }
}
