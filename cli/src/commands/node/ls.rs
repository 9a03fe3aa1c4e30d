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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::output::list::ShowOptions;
    use swarm_model::id::NodeId;
    use swarm_model::meta::Meta;
    use swarm_model::node::{
        Availability, Node, NodeDescription, NodeSpec, NodeStatus, Reachability, Role,
    };
    use swarm_node::api::types::ManagerStatus;

    /// Node `id`, called `n` and its id; a worker without a status.
    fn entry(id: u128, status: Option<ManagerStatus>) -> NodeEntry {
        let role = if status.is_some() { Role::Manager } else { Role::Worker };
        let heard = status != Some(ManagerStatus::Unreachable);
        let description = NodeDescription {
            hostname: format!("n{id}"),
            version: "0.1.0".to_owned(),
            ..NodeDescription::default()
        };
        let node = Node {
            id: NodeId::from_raw(id),
            meta: Meta::default(),
            spec: NodeSpec { role, availability: Availability::Drain, labels: BTreeMap::new() },
            description,
            status: NodeStatus {
                reachability: if heard { Reachability::Ready } else { Reachability::Down },
                ..NodeStatus::default()
            },
            drain: None,
        };
        let voter = role == Role::Manager && status != Some(ManagerStatus::Standby);
        let is_self = id == 2;
        NodeEntry { node, manager_status: status, voter, quarantine: None, is_self }
    }

    fn shown(entries: Vec<NodeEntry>, format: Option<&str>) -> String {
        let format = format.map(|format| format.parse().expect("is valid"));
        let rows: Vec<_> = entries.into_iter().map(NodeRow::from).collect();
        let options = ShowOptions { format, ..ShowOptions::default() };
        list::render(&rows, &COLUMNS, &options).expect("every field is there")
    }

    #[test]
    fn each_node_has_its_columns_and_this_one_a_star() {
        let unheard = NodeEntry {
            quarantine: Some("its log is damaged".to_owned()),
            ..entry(5, Some(ManagerStatus::Unreachable))
        };
        let entries = vec![
            entry(1, Some(ManagerStatus::Leader)),
            entry(2, Some(ManagerStatus::Reachable)),
            entry(3, Some(ManagerStatus::Unreachable)),
            entry(4, Some(ManagerStatus::Standby)),
            unheard,
            entry(6, None),
        ];
        let table = shown(entries.clone(), None);
        let lines: Vec<Vec<_>> = table
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        let columns = ["ID", "HOSTNAME", "STATUS", "AVAILABILITY", "MANAGER STATUS", "VERSION"];
        assert_eq!(lines[0], columns);
        let short = NodeId::from_raw(2).short();
        assert_eq!(
            lines[2],
            [&*format!("{short} *"), "n2", "Ready", "Drain", "Reachable", "0.1.0"]
        );
        assert_eq!(lines[3][2..], ["Down", "Drain", "Unreachable", "0.1.0"]);
        assert_eq!(lines[6][1..], ["n6", "Ready", "Drain", "0.1.0"], "a worker has none");
        assert_eq!(
            shown(entries, Some("{{.ManagerStatus}} {{.Voter}} {{.Self}}")),
            "Leader true false\nReachable true true\nUnreachable true false\nStandby false false\n\
             Quarantined true false\n false false"
        );
    }
}
