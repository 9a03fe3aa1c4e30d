//! `swarm config inspect`.

use clap::Args;

use super::path;
use crate::client::Client;
use crate::commands::inspect_all;
use crate::exit::Failure;
use crate::output::inspect::InspectOptions;

/// Show all about configs, as JSON
///
/// The content is in Spec.Data, base64.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm config inspect app.conf\n  \
    swarm config inspect --format '{{.Spec.Data}}' app.conf | base64 -d")]
pub(crate) struct Inspect {
    /// Names or ids
    #[arg(required = true, value_name = "CONFIG")]
    configs: Vec<String>,
    #[command(flatten)]
    show: InspectOptions,
}

impl Inspect {
    /// Shows the configs.
    ///
    /// # Errors
    /// When one does not exist; those that do are shown.
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        inspect_all(client, &self.configs, path, &self.show).await
    }
}
