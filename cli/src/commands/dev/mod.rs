//! `swarm dev`: a whole cluster on this machine, for as long as the command runs.

mod cluster;
mod example;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use swarm_model::service::ServiceSpec;
use swarm_node::api::types::Written;
use tokio::signal::unix::{SignalKind, signal};

use self::cluster::DevCluster;
use super::service::{WaitOptions, watch};
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::output::progress::Progress;
use crate::output::{self, line};

/// How long the services of the file may take to run.
const RUN_WITHIN: Duration = Duration::from_secs(60);
/// The most nodes: each has a loopback address of its own.
const NODES_MAX: u16 = 50;

/// Try a whole cluster on this machine; Ctrl-C removes it
///
/// Starts real nodes on loopback addresses in a temporary directory (the first three are managers),
/// runs the services of FILE or an example, and shows what to try. Ctrl-C removes everything.
///
/// FILE is JSON: {"Services": [SPEC, ...]}, each SPEC as `swarm service inspect` shows it in Spec.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm dev\n  \
    swarm dev --nodes 5 services.json\n\n\
    A FILE:\n  \
    {\"Services\": [{\n    \
      \"Name\": \"web\", \"Mode\": {\"Replicated\": {\"Replicas\": 3}},\n    \
      \"TaskTemplate\": {\"Runtime\": {\"Process\": {\"Command\": [\"/usr/bin/web\"]}}}\n  \
    }]}")]
pub(crate) struct Dev {
    /// Number of nodes
    #[arg(long, value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=i64::from(NODES_MAX)))]
    nodes: u16,
    /// Services to run; an example when absent
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Dev {
    /// Runs the cluster until Ctrl-C.
    ///
    /// # Errors
    /// When the file is wrong, or a node does not start; everything is removed then, too.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let failed = |error| Failure::failed(format!("cannot watch signals: {error}"));
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let services = match &self.file {
            Some(file) => example::read(file)?,
            None => example::built_in()?,
        };
        let mut cluster = DevCluster::new(self.nodes)?;
        let result = tokio::select! {
            result = Box::pin(live(&mut cluster, &services)) => result,
            _ = tokio::signal::ctrl_c() => Ok(()),
            _ = terminate.recv() => Ok(()),
        };
        output::note("Removing the cluster and its tasks ...");
        cluster.remove().await?;
        if result.is_ok() {
            output::note("Nothing is left of it.");
        }
        result
    }
}

/// Starts everything, shows it, then stays.
async fn live(cluster: &mut DevCluster, services: &[ServiceSpec]) -> Result<(), Failure> {
    let progress = Progress::new(false);
    cluster.start(&progress).await?;
    drop(progress);
    let client = cluster.client()?;
    let mut names = Vec::new();
    for spec in services {
        let written: Written = client.post("/v1/services/create", &[], spec).await?;
        names.push((written.id, spec.name.to_string()));
    }
    let wait = WaitOptions::at_most(RUN_WITHIN);
    for (id, name) in &names {
        let hint = format!("see `swarm --host {} service ps {name}`", client.endpoint());
        match watch(&client, &hint, id, &wait).await {
            Ok(()) => {}
            Err(failure) if failure.exit == Exit::TimedOut => {
                output::warning(&format!("service {name}: {failure}"));
            }
            Err(failure) => return Err(failure),
        }
    }
    show(cluster, &client, &names).await?;
    std::future::pending().await
}

async fn show(
    cluster: &DevCluster,
    client: &Client,
    names: &[(String, String)],
) -> Result<(), Failure> {
    line("Nodes")?;
    line(&cluster.table(client).await?)?;
    let tasks: Vec<swarm_node::api::types::TaskEntry> = client.get("/v1/tasks", &[]).await?;
    line("\nTasks")?;
    let rows = super::tasks::rows(tasks);
    output::list::show(&rows, &super::tasks::COLUMNS, &Default::default())?;
    let name = names.first().map_or("NAME", |(_, name)| name.as_str());
    let info: Value = client.get("/v1/info", &[]).await?;
    let mut hints = vec![
        format!("alias swarm={}", shell_word(&program())),
        // Not the first node: it leads, and may be killed below.
        format!("export SWARM_HOST={}", cluster.last_endpoint()?),
        "swarm status".to_owned(),
        format!("swarm service logs -f {name}"),
        format!("swarm service scale {name}=6"),
        format!("swarm service ps {name}"),
    ];
    if let Some(pid) = cluster.pid_of(info["Leader"].as_str().unwrap_or_default()).await
        && cluster.has_majority_without_one()
    {
        hints.push(format!(
            "kill -9 {pid}    # the leader's daemon: its tasks go on, another leads"
        ));
    }
    line(&format!(
        "\nTry, in another terminal:\n  {}\n\nCtrl-C removes everything.",
        hints.join("\n  ")
    ))
}

/// This program's file.
fn program() -> String {
    std::env::current_exe().map_or_else(|_| "swarm".to_owned(), |path| path.display().to_string())
}

/// A word that a shell takes as it is.
fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
