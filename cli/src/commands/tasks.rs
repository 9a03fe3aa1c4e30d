//! Tasks as lists show them: `service ps` and `node ps`.

use serde::Serialize;
use swarm_model::task::Slot;
use swarm_model::units::Timestamp;
use swarm_node::api::types::TaskEntry;

use crate::clock::ago;
use crate::output::list::{Column, Cut, Row};

/// The columns of task lists.
pub(crate) const COLUMNS: [Column; 7] = [
    ("ID", "ID", Cut::Id),
    ("Name", "NAME", Cut::No),
    ("Image", "IMAGE", Cut::Text),
    ("Node", "NODE", Cut::No),
    ("DesiredState", "DESIRED STATE", Cut::No),
    ("CurrentState", "CURRENT STATE", Cut::No),
    ("Error", "ERROR", Cut::Text),
];

/// One task of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TaskRow {
    #[serde(rename = "ID")]
    id: String,
    name: String,
    #[serde(skip)]
    is_history: bool,
    image: String,
    node: String,
    #[serde(rename = "NodeID")]
    node_id: String,
    service: String,
    desired_state: String,
    current_state: String,
    state: String,
    since: Timestamp,
    error: String,
    #[serde(rename = "PID")]
    pid: Option<u32>,
    exit_code: Option<i32>,
}

impl Row for TaskRow {
    fn cell(&self, field: &str) -> Option<String> {
        (field == "Name" && self.is_history).then(|| format!("\\_ {}", self.name))
    }
}

/// Rows in reading order: by service and slot, the newest of a slot first, its history indented.
pub(crate) fn rows(mut tasks: Vec<TaskEntry>) -> Vec<TaskRow> {
    let place = |entry: &TaskEntry| (entry.service_name.clone(), slot_order(entry));
    tasks.sort_by(|a, b| {
        let newest = |entry: &TaskEntry| (!entry.task.is_active(), entry.task.meta.created_at);
        let (a_ended, a_at) = newest(a);
        let (b_ended, b_at) = newest(b);
        (place(a), a_ended, b_at, b.task.id).cmp(&(place(b), b_ended, a_at, a.task.id))
    });
    let mut before: Option<(String, (u32, String))> = None;
    let mut rows = Vec::with_capacity(tasks.len());
    for entry in tasks {
        let here = place(&entry);
        let is_history = before.as_ref() == Some(&here);
        before = Some(here);
        rows.push(row(entry, is_history));
    }
    rows
}

fn slot_order(entry: &TaskEntry) -> (u32, String) {
    match entry.task.slot {
        Slot::Replica(number) => (number, String::new()),
        Slot::Node(node) => (0, node.to_string()),
    }
}

fn row(entry: TaskEntry, is_history: bool) -> TaskRow {
    let status = &entry.task.status;
    let error = if status.error.is_empty() { exit_text(&entry) } else { status.error.clone() };
    TaskRow {
        id: entry.task.id.to_string(),
        is_history,
        image: entry.task.template.runtime.image(),
        node: entry.node_hostname.clone(),
        node_id: entry.task.node.map(|node| node.to_string()).unwrap_or_default(),
        service: entry.service_name.clone(),
        desired_state: entry.task.desired.to_string(),
        current_state: format!("{} {}", status.state, ago(status.since)),
        state: status.state.to_string(),
        since: status.since,
        error,
        pid: status.pid,
        exit_code: status.exit.and_then(|exit| exit.code),
        name: entry.name,
    }
}

/// How a task ended, when that was not well and no error says it.
fn exit_text(entry: &TaskEntry) -> String {
    match entry.task.status.exit {
        Some(exit) if exit.oom_killed => "out of memory".to_owned(),
        Some(exit) => match (exit.code, exit.signal) {
            (Some(code), _) if code != 0 => format!("exit code {code}"),
            (None, Some(signal)) if entry.task.status.state.is_terminal() => {
                format!("ended by signal {signal}")
            }
            _ => String::new(),
        },
        None => String::new(),
    }
}
