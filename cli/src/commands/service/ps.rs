//! `swarm service ps`.

use clap::Args;
use swarm_node::api::types::{ServiceEntry, TaskEntry};

use super::path;
use super::runs::run_line;
use crate::client::Client;
use crate::commands::{list_query, stale_query, tasks};
use crate::exit::Failure;
use crate::output;
use crate::output::list::{self, ListOptions, filters_json};

/// List the tasks of services
///
/// Shows each slot's task and, below it, the tasks before it. ERROR says why a task ended, or why
/// it waits. Filters: id, name, node, label, desired-state.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm service ps web\n  \
    swarm service ps web --filter desired-state=running\n  \
    swarm service ps web --format '{{.Name}} {{.Node}} {{.CurrentState}}'")]
pub(crate) struct Ps {
    /// Names or ids
    #[arg(required = true, value_name = "SERVICE")]
    services: Vec<String>,
    #[command(flatten)]
    list: ListOptions,
}

impl Ps {
    /// Lists the tasks of the services that exist, then fails for those that do not.
    ///
    /// # Errors
    /// When a service does not exist, or no node answers.
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        let mut filters = self.list.filters.clone();
        let mut failed = None;
        let mut any = false;
        let mut updates = Vec::new();
        for reference in &self.services {
            let stale = stale_query(self.list.stale);
            match client.get::<ServiceEntry>(&path(reference), stale).await {
                Ok(entry) => {
                    any = true;
                    updates.extend(update_line(&entry).or_else(|| run_line(&entry)));
                    filters.push(("service".to_owned(), entry.service.id.to_string()));
                }
                Err(failure) => {
                    failed.get_or_insert(failure);
                }
            }
        }
        if any {
            let filters = filters_json(&filters);
            let query = list_query(filters.as_deref(), self.list.stale);
            let tasks: Vec<TaskEntry> = client.get("/v1/tasks", &query).await?;
            list::show(&tasks::rows(tasks), &tasks::COLUMNS, &self.list.show)?;
            updates.iter().for_each(|update| output::note(update));
        }
        failed.map_or(Ok(()), Err)
    }
}

/// How far the service's update is, as long as that matters: it goes on, is paused, or was turned back.
pub(super) fn update_line(entry: &ServiceEntry) -> Option<String> {
    let (status, counts) = (entry.update_status.as_ref()?, entry.service_status);
    let state = match status.state.as_str() {
        "completed" => return None,
        "rollback_completed" if status.message.is_empty() => return None,
        state => state.replace('_', " "),
    };
    let name = &entry.service.spec.name;
    let (done, all) = (counts.updated_tasks, counts.desired_tasks);
    let why = if status.message.is_empty() { "" } else { ": " };
    let message = &status.message;
    Some(format!(
        "update of {name}: {state}, {done} of {all} tasks are as they should be{why}{message}"
    ))
}
