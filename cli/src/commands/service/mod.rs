//! `swarm service`: programs that the cluster keeps running.

mod convergence;
pub(crate) mod create;
mod diff;
mod explain;
mod history;
mod inspect;
mod job_options;
mod logs;
mod ls;
mod options;
mod pause;
mod probe_options;
mod promote;
mod ps;
pub(crate) mod rm;
pub(crate) mod rollback;
mod runs;
pub(crate) mod scale;
pub(crate) mod update;
mod update_lists;
mod update_options;
mod wait;

use clap::Subcommand;
use swarm_model::config::Config;
use swarm_model::runtime::ConfigReference;

use crate::args::Global;
use crate::client::{Client, encode};
use crate::exit::Failure;
use crate::parse::config_mount::ConfigMount;

use wait::{Expect, wait_for_update, wait_until_running};
pub(crate) use wait::{WaitOptions, watch};

/// Manage services
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    swarm service create --name web --replicas 3 --runtime process -- /usr/bin/web --port 80\n  \
    swarm service ps web\n  \
    swarm service scale web=5\n  \
    swarm service logs -f web")]
pub(crate) enum Service {
    Create(Box<create::Create>),
    Diff(diff::Diff),
    Explain(explain::Explain),
    History(history::History),
    Inspect(inspect::Inspect),
    Logs(logs::Logs),
    #[command(visible_alias = "list")]
    Ls(ls::Ls),
    Pause(pause::Pause),
    Promote(promote::Promote),
    Ps(ps::Ps),
    Resume(pause::Resume),
    #[command(visible_alias = "remove")]
    Rm(rm::Rm),
    Rollback(rollback::Rollback),
    Run(runs::StartRun),
    Runs(runs::Runs),
    Scale(scale::Scale),
    StopRun(runs::StopRun),
    Update(Box<update::Update>),
}

impl Service {
    /// Does what the command line says.
    ///
    /// # Errors
    /// What the node refused, or that it does not answer.
    pub(crate) async fn run(self, global: &Global) -> Result<(), Failure> {
        let client = &global.client()?;
        match self {
            Self::Create(command) => command.run(client, global).await,
            Self::Diff(command) => command.run(client).await,
            Self::Explain(command) => command.run(client).await,
            Self::History(command) => command.run(client).await,
            Self::Inspect(command) => command.run(client).await,
            Self::Logs(command) => command.run(client).await,
            Self::Ls(command) => command.run(client).await,
            Self::Pause(command) => command.run(client).await,
            Self::Promote(command) => command.run(client, global).await,
            Self::Ps(command) => command.run(client).await,
            Self::Resume(command) => command.run(client, global).await,
            Self::Rm(command) => command.run(client).await,
            Self::Rollback(command) => command.run(client, global).await,
            Self::Run(command) => command.run(client, global).await,
            Self::Runs(command) => command.run(client).await,
            Self::StopRun(command) => command.run(client).await,
            Self::Scale(command) => command.run(client, global).await,
            Self::Update(command) => command.run(client, global).await,
        }
    }
}

/// The API path of a service.
pub(crate) fn path(reference: &str) -> String {
    format!("/v1/services/{}", encode(reference))
}

/// Finds the configs that mounts name.
async fn resolve(client: &Client, mounts: &[ConfigMount]) -> Result<Vec<ConfigReference>, Failure> {
    let mut references = Vec::with_capacity(mounts.len());
    for mount in mounts {
        let config: Config = client.get(&crate::commands::config::path(&mount.source), &[]).await?;
        references.push(ConfigReference {
            config: config.id,
            name: config.spec.name.to_string(),
            target: mount.target.clone(),
            uid: mount.uid,
            gid: mount.gid,
            mode: mount.mode,
        });
    }
    Ok(references)
}
