//! `swarm config create`.

use clap::Args;
use swarm_model::config::ConfigSpec;
use swarm_model::name::Name;
use swarm_node::api::types::Written;

use super::read;
use crate::client::Client;
use crate::commands::guard::Guard;
use crate::exit::Failure;
use crate::output::line;
use crate::parse::key_value;

/// Store a file (or stdin) under a name
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm config create app.conf ./app.conf\n  \
    echo hello | swarm config create --label team=a greeting -")]
pub(crate) struct Create {
    /// The config's name
    name: Name,
    /// The file, at most 1000 KiB; - is stdin
    file: String,
    /// Label the config; may be repeated
    #[arg(short, long = "label", value_name = "KEY=VALUE", value_parser = key_value::label)]
    labels: Vec<(String, String)>,
    #[command(flatten)]
    guard: Guard,
}

impl Create {
    /// Stores the config and shows its id.
    ///
    /// # Errors
    /// When the file cannot be read, or the name is taken.
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        let data = read(&self.file)?.into();
        let labels = self.labels.into_iter().collect();
        let spec = ConfigSpec { name: self.name, labels, data };
        spec.validate().map_err(|error| Failure::usage(error.to_string()))?;
        let query = self.guard.query(&[]);
        let written: Written = client.post("/v1/configs/create", &query, &spec).await?;
        line(&written.id)
    }
}
