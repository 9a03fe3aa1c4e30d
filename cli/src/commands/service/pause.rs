//! `swarm service pause` and `swarm service resume`.

use clap::Args;
use swarm_node::api::types::Written;

use super::{Expect, WaitOptions, path, wait_for_update};
use crate::args::Global;
use crate::client::Client;
use crate::commands::guard::Guard;
use crate::exit::Failure;
use crate::output;

/// Stop a service's update where it is
///
/// What was begun is finished, nothing more is replaced. `swarm service resume` lets it go on, `swarm
/// service rollback` turns it back, another `swarm service update` takes its place.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  swarm service pause web")]
pub(crate) struct Pause {
    /// Name or id
    service: String,
    #[command(flatten)]
    guard: Guard,
}

/// Let a paused update go on and wait until it is over
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  swarm service resume web")]
pub(crate) struct Resume {
    /// Name or id
    service: String,
    #[command(flatten)]
    wait: WaitOptions,
    #[command(flatten)]
    guard: Guard,
}

async fn write(
    client: &Client,
    service: &str,
    paused: &str,
    guard: &Guard,
) -> Result<Written, Failure> {
    let target = format!("{}/pause", path(service));
    let written = client.post(&target, &guard.query(&[("paused", paused)]), &()).await?;
    output::line(service)?;
    Ok(written)
}

impl Pause {
    /// Stops the update.
    ///
    /// # Errors
    /// When there is none that goes on.
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        write(client, &self.service, "true", &self.guard).await.map(drop)
    }
}

impl Resume {
    /// Lets the update go on, and waits.
    ///
    /// # Errors
    /// When there is none that is paused, or it fails.
    pub(super) async fn run(self, client: &Client, global: &Global) -> Result<(), Failure> {
        let written = write(client, &self.service, "false", &self.guard).await?;
        if self.wait.detach {
            return Ok(());
        }
        wait_for_update(client, global, &written.id, &self.wait, Expect::any()).await
    }
}
