//! `swarm config update`.

use clap::Args;
use swarm_model::config::Config;
use swarm_node::api::types::Written;

use super::{path, read};
use crate::client::Client;
use crate::commands::guard::Guard;
use crate::commands::label_changes::LabelChanges;
use crate::exit::Failure;
use crate::output;

/// Store a new version of a config
///
/// Tasks that start from now on see the new version.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm config update app.conf ./app.conf\n  \
    swarm config update --label-add team=b app.conf")]
pub(crate) struct Update {
    /// Name or id
    config: String,
    /// The new content, at most 1000 KiB; - is stdin; absent keeps it
    file: Option<String>,
    #[command(flatten)]
    labels: LabelChanges,
    #[command(flatten)]
    guard: Guard,
}

impl Update {
    /// Stores the new version and shows what was named.
    ///
    /// # Errors
    /// When the file cannot be read, or somebody else changed the config meanwhile.
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        if self.file.is_none() && self.labels.is_empty() {
            return Err(Failure::usage(
                "nothing to change: name a FILE, --label-add or --label-rm",
            ));
        }
        let Config { id, meta, mut spec } = client.get(&path(&self.config), &[]).await?;
        let old = spec.clone();
        if let Some(file) = &self.file {
            spec.data = read(file)?.into();
        }
        for warning in self.labels.apply(&mut spec.labels) {
            output::warning(&warning);
        }
        if spec == old {
            output::note(&format!("config {} is like that already", self.config));
            return output::line(&self.config);
        }
        let version = meta.version.to_string();
        let target = format!("{}/update", path(&id.to_string()));
        let query = self.guard.query(&[("version", &version)]);
        let _written: Written = client.post(&target, &query, &spec).await?;
        output::line(&self.config)
    }
}
