//! `swarm version`: of this program, and of the daemon when it runs.

use clap::Args;
use serde_json::{Value, json};

use crate::client::Client;
use crate::exit::Failure;
use crate::output::format::Format;
use crate::output::{inspect, line};

/// Show the versions of this program and of the node's daemon
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm version\n  \
    swarm version --format '{{.Client.Version}}'")]
pub(crate) struct Version {
    /// json (one line) or a template like '{{.Server.Version}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

impl Version {
    /// Shows both versions; a daemon that does not answer is left out.
    ///
    /// # Errors
    /// When the template does not fit.
    pub(crate) async fn run(self, client: &Client) -> Result<(), Failure> {
        let own = json!({
            "Version": env!("CARGO_PKG_VERSION"),
            "Os": std::env::consts::OS,
            "Arch": std::env::consts::ARCH,
        });
        let server: Value = client.get("/v1/version", &[]).await.unwrap_or(Value::Null);
        let both = json!({ "Client": own, "Server": server });
        match self.format {
            Some(format) => inspect::one(&both, &format),
            None => {
                line(inspect::outline(&both).trim_end())?;
                if both["Server"].is_null() {
                    line("Server: does not answer")?;
                }
                Ok(())
            }
        }
    }
}
