//! `swarm config rm`.

use clap::Args;

use super::path;
use crate::client::Client;
use crate::commands::guard::Guard;
use crate::exit::{Failure, for_each};
use crate::output::line;

/// Remove configs that no service uses
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  swarm config rm app.conf")]
pub(crate) struct Rm {
    /// Names or ids
    #[arg(required = true, value_name = "CONFIG")]
    configs: Vec<String>,
    #[command(flatten)]
    guard: Guard,
}

impl Rm {
    /// Removes the configs and shows what was named.
    ///
    /// # Errors
    /// As the first config that failed (a service uses it, not found); the others are removed.
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        let mut guard = self.guard;
        for_each(&self.configs, async |config| {
            guard.follow(&client.delete(&path(&config), &guard.query(&[])).await?);
            line(&config)
        })
        .await
    }
}
