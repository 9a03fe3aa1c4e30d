//! `swarm service rollback`.

use clap::Args;
use swarm_node::api::types::Written;

use super::{Expect, WaitOptions, path, wait_for_update};
use crate::args::Global;
use crate::client::Client;
use crate::commands::guard::Guard;
use crate::exit::Failure;
use crate::output;

/// Take a service back to what it was and wait until that runs
///
/// Without --to, back to the last version that ran. Tasks of that version that still run are left
/// alone; the others are replaced by the rules of --rollback-parallelism and its like.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm service rollback web\n  \
    swarm service history web\n  \
    swarm service rollback --to 42 web")]
pub(crate) struct Rollback {
    #[command(flatten)]
    options: RollbackOptions,
    #[command(flatten)]
    wait: WaitOptions,
    #[command(flatten)]
    guard: Guard,
}

// Which service goes back, and to what.
#[derive(Debug, Args)]
pub(crate) struct RollbackOptions {
    /// Name or id
    pub(crate) service: String,
    /// A version of `swarm service history`
    #[arg(long, value_name = "VERSION")]
    pub(crate) to: Option<u64>,
}

impl Rollback {
    /// Turns the service back, shows what was named and waits until that runs.
    ///
    /// # Errors
    /// When there is no such version, what the node refused, or that it does not run.
    pub(super) async fn run(self, client: &Client, global: &Global) -> Result<(), Failure> {
        let RollbackOptions { service, to } = self.options;
        let target = format!("{}/rollback", path(&service));
        let to = to.map(|version| version.to_string());
        let query: Vec<_> = to.iter().map(|version| ("to", version.as_str())).collect();
        let written: Written = client.post(&target, &self.guard.query(&query), &()).await?;
        output::line(&service)?;
        if self.wait.detach {
            return Ok(());
        }
        let expect = Expect::rollback(written.version);
        wait_for_update(client, global, &written.id, &self.wait, expect).await
    }
}
