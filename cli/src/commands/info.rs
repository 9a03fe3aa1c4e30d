//! `swarm info`: what this node is.

use clap::Args;
use serde_json::Value;

use crate::client::Client;
use crate::exit::Failure;
use crate::output::format::Format;
use crate::output::inspect;

/// Show what this node is, as JSON
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm info\n  \
    swarm info --format '{{.NodeID}} {{.DaemonPID}}'")]
pub(crate) struct Info {
    /// json (one line) or a template like '{{.NodeID}}'; pretty JSON when absent
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

impl Info {
    /// Shows it.
    ///
    /// # Errors
    /// When no node answers, or the template does not fit.
    pub(crate) async fn run(self, client: &Client) -> Result<(), Failure> {
        let info: Value = client.get("/v1/info", &[]).await?;
        inspect::one(&info, &self.format.unwrap_or_default())
    }
}
