//! `swarm service history`.

use clap::Args;
use serde::Serialize;
use swarm_model::runtime::RuntimeSpec;
use swarm_model::units::Timestamp;
use swarm_node::api::types::HistoryEntry;

use super::path;
use crate::client::Client;
use crate::clock::ago;
use crate::exit::Failure;
use crate::output::list::{self, Column, Cut, Row, ShowOptions};

/// List what a service is and was
///
/// The newest first, at most ten. `swarm service rollback --to VERSION` goes back to one, `swarm service
/// diff` tells how two differ.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm service history web\n  \
    swarm service history web --format '{{.Version}} {{.Cause}} {{.By}}'")]
pub(crate) struct History {
    /// Name or id
    service: String,
    #[command(flatten)]
    show: ShowOptions,
}

const COLUMNS: [Column; 6] = [
    ("Version", "VERSION", Cut::No),
    ("Created", "CREATED", Cut::No),
    ("Cause", "CAUSE", Cut::No),
    ("By", "BY", Cut::No),
    ("Ran", "RAN", Cut::No),
    ("Command", "COMMAND", Cut::Text),
];

/// One spec of the list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SpecRow {
    version: u64,
    created: String,
    at: Timestamp,
    cause: String,
    by: String,
    ran: bool,
    current: bool,
    command: String,
}

impl Row for SpecRow {
    fn cell(&self, field: &str) -> Option<String> {
        match field {
            "Version" if self.current => Some(format!("{} *", self.version)),
            "Ran" => Some(if self.ran { "yes" } else { "no" }.to_owned()),
            _ => None,
        }
    }
}

impl From<HistoryEntry> for SpecRow {
    fn from(entry: HistoryEntry) -> Self {
        let RuntimeSpec::Process(process) = &entry.spec.task_template.runtime;
        Self {
            version: entry.version.0,
            created: ago(entry.at),
            at: entry.at,
            cause: entry.cause,
            by: entry.by,
            ran: entry.ran,
            current: entry.current,
            command: process.command.join(" "),
        }
    }
}

impl History {
    /// Lists them.
    ///
    /// # Errors
    /// When there is no such service.
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        let target = format!("{}/history", path(&self.service));
        let entries: Vec<HistoryEntry> = client.get(&target, &[]).await?;
        let rows: Vec<_> = entries.into_iter().map(SpecRow::from).collect();
        list::show(&rows, &COLUMNS, &self.show)
    }
}
