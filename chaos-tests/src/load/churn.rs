//! A client that creates, scales and removes services for as long as the load runs.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result};
use swarm_model::service::{ServiceMode, ServiceSpec};
use swarm_node::api::types::{ServiceEntry, Written};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::real::{Client, Cluster, spec};

/// Between two changes.
const PACE: Duration = Duration::from_millis(700);
const PATIENCE: Duration = Duration::from_secs(12);

/// A running churn.
#[derive(Debug)]
pub struct Churn {
    worker: JoinSet<Churned>,
    stop: CancellationToken,
}

/// What it did.
#[derive(Debug, Default)]
pub struct Churned {
    /// Services whose removal was acknowledged.
    pub removed: BTreeSet<String>,
    /// Services of which nobody knows whether they exist.
    pub open: BTreeSet<String>,
    /// Changes that were acknowledged.
    pub changes: u64,
}

impl Churn {
    /// Starts; services are called `PREFIX-N`.
    pub fn start(cluster: &Cluster, prefix: &str) -> Self {
        let clients = (0..cluster.len()).map(|it| cluster.client(it).with_patience(PATIENCE));
        let stop = CancellationToken::new();
        let mut worker = JoinSet::new();
        worker.spawn(run(clients.collect(), prefix.to_owned(), stop.clone()));
        Self { worker, stop }
    }

    /// Ends after the change under way.
    ///
    /// # Errors
    /// When it panicked.
    pub async fn stop(mut self) -> Result<Churned> {
        self.stop.cancel();
        self.worker.join_next().await.context("no churn")?.context("the churn panicked")
    }
}

async fn run(mut clients: Vec<Client>, prefix: String, stop: CancellationToken) -> Churned {
    let mut done = Churned::default();
    for number in 0_usize.. {
        if stop.is_cancelled() {
            break;
        }
        let count = clients.len();
        let name = format!("{prefix}-{number}");
        let gone = life(&mut clients[number % count], &name, &mut done.changes, &stop).await;
        if gone {
            done.removed.insert(name)
        } else {
            done.open.insert(name)
        };
    }
    done
}

/// Create, scale, remove; whether it is certainly gone.
async fn life(
    client: &mut Client,
    name: &str,
    changes: &mut u64,
    stop: &CancellationToken,
) -> bool {
    let mut ok = |done: bool| {
        *changes += u64::from(done);
        done
    };
    let Ok(spec) = spec::service(name, 2, &spec::STAYS) else { return false };
    if !ok(client.post::<Written>("/v1/services/create", &spec).await.is_ok()) {
        pause(stop).await;
        return false;
    }
    pause(stop).await;
    ok(scale(client, name, spec, 3).await);
    pause(stop).await;
    ok(client.delete(&format!("/v1/services/{name}")).await.is_ok())
}

async fn scale(client: &mut Client, name: &str, mut spec: ServiceSpec, replicas: u32) -> bool {
    spec.mode = ServiceMode::Replicated { replicas };
    client.post::<Written>(&format!("/v1/services/{name}/update"), &spec).await.is_ok()
}

async fn pause(stop: &CancellationToken) {
    tokio::select! {
        () = sleep(PACE) => {}
        () = stop.cancelled() => {}
    }
}

impl Churned {
    /// Removes what is open, so that the end is known.
    ///
    /// # Errors
    /// When a service can neither be found nor removed.
    pub async fn settle(&mut self, client: &mut Client) -> Result<()> {
        for name in std::mem::take(&mut self.open) {
            let target = format!("/v1/services/{name}");
            match client.delete(&target).await {
                Ok(()) => {}
                Err(error) if error.code() == "not_found" => {}
                Err(error) => {
                    let there = client.get::<ServiceEntry>(&target).await;
                    if !there.is_err_and(|error| error.code() == "not_found") {
                        return Err(error).with_context(|| format!("remove {name}"));
                    }
                }
            }
            self.removed.insert(name);
        }
        Ok(())
    }
}
