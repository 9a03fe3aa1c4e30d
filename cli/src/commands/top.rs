//! `swarm top`.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use swarm_model::units::Bytes;
use swarm_node::api::{TopEntry, TopProcess};

use crate::client::{Client, encode};
use crate::commands::stale_query;
use crate::exit::Failure;
use crate::output;
use crate::output::list::{self, Column, Cut, Row, ShowOptions};
use crate::parse::duration;

/// Show the processes of running tasks, with what they use
///
/// On all nodes, or of one service or task; one look, over half a second. 100% is one processor. A task
/// whose processes cannot be read is named on stderr; the rest is shown.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm top\n  \
    swarm top web\n  \
    swarm top web.1 --format '{{.PID}} {{.CPUPerc}} {{.Command}}'")]
pub(crate) struct Top {
    /// Name or id of a service, or of a task (web.3) [default: all]
    #[arg(value_name = "SERVICE|TASK")]
    reference: Option<String>,
    #[command(flatten)]
    show: ShowOptions,
    /// Read this node's own copy at once, without asking the leader
    #[arg(long)]
    stale: bool,
}

const COLUMNS: [Column; 8] = [
    ("Name", "TASK", Cut::No),
    ("Node", "NODE", Cut::No),
    ("PID", "PID", Cut::No),
    ("User", "USER", Cut::No),
    ("CPUPerc", "CPU %", Cut::No),
    ("MemUsage", "MEMORY", Cut::No),
    ("Time", "TIME", Cut::No),
    ("Command", "COMMAND", Cut::Text),
];

/// One process of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ProcessRow {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Node")]
    node: String,
    #[serde(rename = "NodeID")]
    node_id: String,
    #[serde(rename = "CPUPerc")]
    cpu: String,
    #[serde(rename = "MemUsage")]
    memory: String,
    #[serde(rename = "Time")]
    time: String,
    #[serde(flatten)]
    process: TopProcess,
}

impl Row for ProcessRow {}

impl Top {
    /// Shows the processes.
    ///
    /// # Errors
    /// When nothing is called so, or the node does not answer.
    pub(crate) async fn run(self, client: &Client) -> Result<(), Failure> {
        let query = stale_query(self.stale);
        let entries: Vec<TopEntry> = match &self.reference {
            None => client.get("/v1/top", query).await?,
            Some(reference) => {
                let name = encode(reference);
                let service = client.get(&format!("/v1/services/{name}/top"), query).await;
                match service {
                    Err(failure) if failure.is_not_found() => {
                        let task = client.get(&format!("/v1/tasks/{name}/top"), query).await;
                        // Both say "not found"; a person thinks of services first.
                        task.map_err(|other| if other.is_not_found() { failure } else { other })?
                    }
                    other => other?,
                }
            }
        };
        let mut rows = Vec::new();
        for entry in entries {
            if let Some(error) = &entry.error {
                output::warning(&format!("{} on node {}: {error}", entry.name, entry.node));
            }
            rows.extend(rows_of(entry));
        }
        list::show(&rows, &COLUMNS, &self.show)
    }
}

fn rows_of(entry: TopEntry) -> impl Iterator<Item = ProcessRow> {
    let TopEntry { task, name, node, node_id, error: _, processes } = entry;
    processes.into_iter().map(move |process| ProcessRow {
        id: task.to_string(),
        name: name.clone(),
        node: node.clone(),
        node_id: node_id.to_string(),
        cpu: format!("{}.{}%", process.cpu_milli / 10, process.cpu_milli % 10),
        memory: Bytes(process.memory).to_string(),
        time: duration::format(Duration::from_secs(process.age_ms / 1000)),
        process,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_model::id::{NodeId, TaskId};

    #[test]
    fn a_process_is_a_row_with_its_task() {
        let process = TopProcess {
            pid: 7,
            parent: 1,
            user: "web".to_owned(),
            cpu_milli: 1234,
            cpu_time_ms: 9,
            memory: 3 << 20,
            age_ms: 61_500,
            command: "sleep 9".to_owned(),
        };
        let entry = TopEntry {
            task: TaskId::from_raw(1),
            name: "web.1".to_owned(),
            node: "alpha".to_owned(),
            node_id: NodeId::from_raw(2),
            error: None,
            processes: vec![process],
        };
        let rows: Vec<_> = rows_of(entry).collect();
        let text = list::render(&rows, &COLUMNS, &ShowOptions::default()).expect("is shown");
        let cells: Vec<_> = text.lines().nth(1).expect("a row").split_whitespace().collect();
        let want = ["web.1", "alpha", "7", "web", "123.4%", "3MiB", "1m1s", "sleep", "9"];
        assert_eq!(cells, want);
    }
}
