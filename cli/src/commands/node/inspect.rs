//! `swarm node inspect`.

use clap::Args;

use super::path;
use crate::client::Client;
use crate::commands::inspect_all;
use crate::exit::Failure;
use crate::output::inspect::InspectOptions;

/// Show all about nodes, as JSON
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm node inspect self --pretty\n  \
    swarm node inspect NODE --format '{{.Spec.Labels.zone}}'")]
pub(crate) struct Inspect {
    /// Ids, host names, or self
    #[arg(required = true, value_name = "NODE")]
    nodes: Vec<String>,
    #[command(flatten)]
    show: InspectOptions,
}

impl Inspect {
    /// Shows the nodes.
    ///
    /// # Errors
    /// When one does not exist; those that do are shown.
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        inspect_all(client, &self.nodes, path, &self.show).await
    }
}
