//! `swarm init`: a new cluster with this machine as its first node.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use swarm_model::cluster::ClusterSpec;
use swarm_node::api::types::TokenAnswer;
use swarm_node::setup::{InitOptions, Prepared};

use super::node_options::NodeOptions;
use super::{join_token, recover};
use crate::client::Client;
use crate::exit::Failure;
use crate::hosting::{addresses, backend, interfaces, serving};
use crate::output::line;
use crate::parse::duration;

/// Start a new cluster with this machine as its first node
///
/// Makes the cluster's certificate authority and this node's identity, starts the node in the
/// background (a systemd unit for root under systemd, unless SWARM_SYSTEMD=0) and shows how other
/// machines join.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm init\n  \
    swarm init --advertise-addr eth0\n  \
    swarm init --advertise-addr 127.0.0.1 --data-dir /tmp/a     # on this machine alone\n  \
    swarm init --force-new-cluster                # the other managers are lost for good")]
pub(crate) struct Init {
    #[command(flatten)]
    node: NodeOptions,
    /// Go on with the stopped node of the data directory as the only manager. Asks nobody: neither
    /// you, nor whether the other managers run, who are left out either way (`swarm recover` does)
    #[arg(long, conflicts_with_all = [
        "advertise_addr", "listen_addr", "availability", "cert_expiry", "task_history_limit",
        "snapshot_interval", "generic_resources", "devices",
    ])]
    force_new_cluster: bool,
    /// Life of a node's certificate, at least 1h
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "2160h")]
    cert_expiry: Duration,
    /// Ended tasks kept in each slot
    #[arg(long, value_name = "N", default_value_t = 5)]
    task_history_limit: u32,
    /// Log entries between two snapshots
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    snapshot_interval: u64,
}

impl Init {
    /// Whether the node runs in this process.
    pub(crate) fn is_daemon(&self) -> bool {
        self.node.foreground
    }

    /// Makes the cluster, starts its first node, shows how to go on.
    ///
    /// # Errors
    /// Why not; nothing is left of the attempt.
    pub(crate) async fn run(self, data_dir: &Path) -> Result<(), Failure> {
        if self.force_new_cluster {
            return self.force(data_dir).await;
        }
        let machine = interfaces::list().unwrap_or_default();
        let (listen, advertise) =
            (self.node.listen_addr.as_ref(), self.node.advertise_addr.as_ref());
        let decided = addresses::decide(listen, advertise, None, &machine)?;
        let prepared = backend::init(&InitOptions {
            data_dir: data_dir.to_owned(),
            listen: decided.listen,
            advertise: decided.advertise,
            availability: self.node.availability,
            spec: ClusterSpec {
                task_history_limit: self.task_history_limit,
                snapshot_interval: self.snapshot_interval,
                cert_expiry_ms: duration::millis(self.cert_expiry),
                ..ClusterSpec::default()
            },
            offers: self.node.offers.offers(),
        })?;
        if self.node.foreground {
            let announce = async |client: &Client| announce(client, &prepared).await;
            return serving::in_foreground(data_dir, announce).await;
        }
        let (client, _daemon) = serving::in_background(data_dir, true).await?;
        announce(&client, &prepared).await
    }
}

impl Init {
    /// Founds the next epoch on what the stopped node holds.
    async fn force(self, data_dir: &Path) -> Result<(), Failure> {
        line(recover::text(&backend::examine(data_dir)?).trim_end())?;
        let report = backend::force(data_dir)?;
        if self.node.foreground {
            // Not as a new node's: whatever happens, the directory stays.
            return backend::run_daemon(data_dir, &Default::default()).await;
        }
        let client = recover::start(data_dir).await?;
        let info = recover::leads(&client, &report, None).await?;
        line(&recover::done(&report, &info))
    }
}

async fn announce(client: &Client, prepared: &Prepared) -> Result<(), Failure> {
    let worker = serving::token(client, "worker").await?;
    let manager = serving::token(client, "manager").await?;
    line(text(prepared, &worker, &manager).trim_end())
}

fn text(prepared: &Prepared, worker: &TokenAnswer, manager: &TokenAnswer) -> String {
    format!(
        "Cluster initialized: this node ({}) is its first manager.\n\n{}\n{}\n\
         `swarm join-token worker|manager` shows this again.\n",
        prepared.node_id,
        join_token::text(worker),
        join_token::text(manager),
    )
}
