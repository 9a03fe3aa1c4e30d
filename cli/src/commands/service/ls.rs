//! `swarm service ls`.

use clap::Args;
use serde::Serialize;
use swarm_model::units::Timestamp;
use swarm_node::api::types::{RunEntry, ServiceEntry};

use crate::client::Client;
use crate::clock::now;
use crate::commands::list_query;
use crate::exit::Failure;
use crate::output::list::{self, Column, Cut, ListOptions, Row};
use crate::parse::duration;

/// List the services
///
/// REPLICAS are the tasks that run and those wanted; of a job those that ended well in its newest run.
/// Filters: id, name, label, mode.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm service ls\n  \
    swarm service ls --filter label=team=a --format '{{.Name}} {{.Replicas}}'")]
pub(crate) struct Ls {
    #[command(flatten)]
    list: ListOptions,
}

const COLUMNS: [Column; 6] = [
    ("ID", "ID", Cut::Id),
    ("Name", "NAME", Cut::No),
    ("Mode", "MODE", Cut::No),
    ("Replicas", "REPLICAS", Cut::No),
    ("Image", "IMAGE", Cut::Text),
    ("Ports", "PORTS", Cut::No),
];

/// One service of the list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceRow {
    #[serde(rename = "ID")]
    id: String,
    name: String,
    mode: &'static str,
    replicas: String,
    update: String,
    next_run_at: Option<Timestamp>,
    image: String,
    ports: String,
}

impl Row for ServiceRow {}

impl From<ServiceEntry> for ServiceRow {
    fn from(entry: ServiceEntry) -> Self {
        let (service, status) = (entry.service, entry.service_status);
        let update = service.update.as_ref().filter(|update| update.is_open());
        let job = entry.run_status.as_ref();
        let state = match update {
            _ if service.removing => " (removing)".to_owned(),
            Some(update) => format!(" ({})", update.word().replace('_', " ")),
            None => state_of_job(job, entry.next_run_at),
        };
        let there = job.map_or(status.running_tasks, |run| run.succeeded);
        Self {
            id: service.id.to_string(),
            name: service.spec.name.to_string(),
            mode: service.spec.mode.word(),
            replicas: format!("{there}/{}{state}", status.desired_tasks),
            next_run_at: entry.next_run_at,
            update: entry.update_status.map(|update| update.state).unwrap_or_default(),
            image: service.spec.task_template.runtime.image(),
            ports: String::new(),
        }
    }
}

/// What stands behind the successes of a job's newest run.
fn state_of_job(run: Option<&RunEntry>, next: Option<Timestamp>) -> String {
    let next = next.map(|at| {
        let span = duration::in_words(at.since(now())).to_lowercase();
        format!("next in {span}")
    });
    let state = run.and_then(|run| match run.state.as_str() {
        "active" => Some(format!("{} running", run.running)),
        "complete" | "skipped" => None,
        state => Some(state.to_owned()),
    });
    let all: Vec<_> = state.into_iter().chain(next).collect();
    if all.is_empty() { String::new() } else { format!(" ({})", all.join(", ")) }
}

impl Ls {
    /// Lists the services, by name.
    ///
    /// # Errors
    /// When no node answers or a filter is unknown.
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        let filters = self.list.query();
        let query = list_query(filters.as_deref(), self.list.stale);
        let mut services: Vec<ServiceEntry> = client.get("/v1/services", &query).await?;
        services.sort_by(|a, b| a.service.spec.name.cmp(&b.service.spec.name));
        let rows: Vec<_> = services.into_iter().map(ServiceRow::from).collect();
        list::show(&rows, &COLUMNS, &self.list.show)
    }
}
