//! `swarm service rm`.

use clap::Args;

use super::path;
use crate::client::Client;
use crate::commands::guard::Guard;
use crate::exit::{Failure, for_each};
use crate::output::line;

/// Remove services and end their tasks
///
/// The service's tasks get their stop signal and their grace period; the name is free at once.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  swarm service rm web api")]
pub(crate) struct Rm {
    #[command(flatten)]
    options: RmOptions,
    #[command(flatten)]
    guard: Guard,
}

// Which services end.
#[derive(Debug, Args)]
pub(crate) struct RmOptions {
    /// Names or ids
    #[arg(required = true, value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

impl Rm {
    /// Removes the services and shows what was named.
    ///
    /// # Errors
    /// As the first service that failed; the others are removed.
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        let mut guard = self.guard;
        for_each(&self.options.services, async |service| {
            guard.follow(&client.delete(&path(&service), &guard.query(&[])).await?);
            line(&service)
        })
        .await
    }
}
