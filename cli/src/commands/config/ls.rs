//! `swarm config ls`.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;
use swarm_model::config::Config;
use swarm_model::units::Timestamp;

use crate::client::Client;
use crate::clock::ago;
use crate::commands::list_query;
use crate::exit::Failure;
use crate::output::list::{self, Column, Cut, ListOptions, Row};

/// List the configs
///
/// Filters: id, name, label.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  swarm config ls\n  swarm config ls -q --filter label=team=a")]
pub(crate) struct Ls {
    #[command(flatten)]
    list: ListOptions,
}

const COLUMNS: [Column; 4] = [
    ("ID", "ID", Cut::Id),
    ("Name", "NAME", Cut::No),
    ("CreatedAt", "CREATED", Cut::No),
    ("UpdatedAt", "UPDATED", Cut::No),
];

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigRow {
    #[serde(rename = "ID")]
    id: String,
    name: String,
    created_at: Timestamp,
    updated_at: Timestamp,
    bytes: usize,
    labels: BTreeMap<String, String>,
}

impl Row for ConfigRow {
    fn cell(&self, field: &str) -> Option<String> {
        match field {
            "CreatedAt" => Some(ago(self.created_at)),
            "UpdatedAt" => Some(ago(self.updated_at)),
            _ => None,
        }
    }
}

impl Ls {
    /// Lists the configs, by name.
    ///
    /// # Errors
    /// When no node answers or a filter is unknown.
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        let filters = self.list.query();
        let query = list_query(filters.as_deref(), self.list.stale);
        let mut configs: Vec<Config> = client.get("/v1/configs", &query).await?;
        configs.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
        let row = |config: Config| ConfigRow {
            id: config.id.to_string(),
            name: config.spec.name.to_string(),
            created_at: config.meta.created_at,
            updated_at: config.meta.updated_at,
            bytes: config.spec.data.as_slice().len(),
            labels: config.spec.labels,
        };
        let rows: Vec<_> = configs.into_iter().map(row).collect();
        list::show(&rows, &COLUMNS, &self.list.show)
    }
}
