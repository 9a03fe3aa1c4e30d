//! `swarm service promote`.

use clap::Args;
use swarm_node::api::types::Written;

use super::{Expect, WaitOptions, path, wait_for_update};
use crate::args::Global;
use crate::client::Client;
use crate::commands::guard::Guard;
use crate::exit::Failure;
use crate::output;

/// Let all tasks follow an update's canary and wait until it is over
///
/// What an update with `--canary` brought to some tasks, and what ran there for the monitor time, comes to
/// the others by the rules of the update. `swarm service rollback` takes it back instead.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  swarm service promote web")]
pub(crate) struct Promote {
    /// Name or id
    service: String,
    #[command(flatten)]
    wait: WaitOptions,
    #[command(flatten)]
    guard: Guard,
}

impl Promote {
    /// Lets the update go on, and waits.
    ///
    /// # Errors
    /// When no canary waits, or the update fails.
    pub(super) async fn run(self, client: &Client, global: &Global) -> Result<(), Failure> {
        let target = format!("{}/promote", path(&self.service));
        let written: Written = client.post(&target, &self.guard.query(&[]), &()).await?;
        output::line(&self.service)?;
        if self.wait.detach {
            return Ok(());
        }
        wait_for_update(client, global, &written.id, &self.wait, Expect::resumed(false)).await
    }
}
