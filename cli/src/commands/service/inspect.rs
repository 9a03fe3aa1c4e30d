//! `swarm service inspect`.

use clap::Args;

use super::path;
use crate::client::Client;
use crate::commands::inspect_all;
use crate::exit::Failure;
use crate::output::inspect::InspectOptions;

/// Show all about services, as JSON
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm service inspect web --pretty\n  \
    swarm service inspect web --format '{{json .Spec.TaskTemplate}}'")]
pub(crate) struct Inspect {
    /// Names or ids
    #[arg(required = true, value_name = "SERVICE")]
    services: Vec<String>,
    #[command(flatten)]
    show: InspectOptions,
}

impl Inspect {
    /// Shows the services.
    ///
    /// # Errors
    /// When one does not exist; those that do are shown.
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        inspect_all(client, &self.services, path, &self.show).await
    }
}
