//! `swarm config`: small files that services read.

mod create;
mod inspect;
mod ls;
mod rm;
mod update;

use std::io::Read as _;

use clap::Subcommand;
use swarm_model::config::CONFIG_BYTES_MAX;

use crate::client::{Client, encode};
use crate::exit::Failure;

/// Manage configs: small files that services read
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    swarm config create app.conf ./app.conf\n  \
    swarm service create --name web --config app.conf --runtime process -- /usr/bin/web")]
pub(crate) enum Config {
    Create(create::Create),
    Inspect(inspect::Inspect),
    #[command(visible_alias = "list")]
    Ls(ls::Ls),
    #[command(visible_alias = "remove")]
    Rm(rm::Rm),
    Update(update::Update),
}

impl Config {
    /// Does what the command line says.
    ///
    /// # Errors
    /// What the node refused, or that it does not answer.
    pub(crate) async fn run(self, client: &Client) -> Result<(), Failure> {
        match self {
            Self::Create(command) => command.run(client).await,
            Self::Inspect(command) => command.run(client).await,
            Self::Ls(command) => command.run(client).await,
            Self::Rm(command) => command.run(client).await,
            Self::Update(command) => command.run(client).await,
        }
    }
}

/// The API path of a config.
pub(crate) fn path(reference: &str) -> String {
    format!("/v1/configs/{}", encode(reference))
}

/// Reads a file, or stdin for `-`; never more than a config may have.
fn read(file: &str) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| Failure::failed(format!("cannot read {file}: {error}"));
    let limit = u64::try_from(CONFIG_BYTES_MAX).unwrap_or(u64::MAX) + 1;
    let mut bytes = Vec::new();
    if file == "-" {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes).map_err(failed)?;
    } else {
        let open = std::fs::File::open(file).map_err(failed)?;
        open.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    }
    if bytes.len() > CONFIG_BYTES_MAX {
        let message = format!("{file} has more than the {CONFIG_BYTES_MAX} bytes of a config");
        return Err(Failure::usage(message));
    }
    Ok(bytes)
}
