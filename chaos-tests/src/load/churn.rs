//! A client that creates, scales, updates and removes services for as long as the load runs, and keeps
//! a few of them: what was acknowledged must be there at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use swarm_model::runtime::RuntimeSpec;
use swarm_model::service::{ServiceMode, ServiceSpec};
use swarm_node::api::types::{ServiceEntry, Written};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::real::{Client, ClientError, Cluster, spec};

/// Between two changes.
const PACE: Duration = Duration::from_millis(700);
const PATIENCE: Duration = Duration::from_secs(12);
/// One service in so many is not removed, until so many are kept.
const KEEPS_EVERY: usize = 4;
const KEPT_MAX: usize = 3;
/// A variable of the programs that an update changes.
const UPDATED: &str = "CHURN";

/// A running churn.
#[derive(Debug)]
pub struct Churn {
    worker: JoinSet<Churned>,
    stop: CancellationToken,
}

/// What it did.
#[derive(Debug, Default)]
pub struct Churned {
    /// Services whose creation and removal were acknowledged: they never come back.
    pub removed: BTreeSet<String>,
    /// Services of which nobody knows whether they exist.
    pub open: BTreeSet<String>,
    /// Those of them whose creation was not acknowledged: it may happen yet.
    pub unborn: BTreeSet<String>,
    /// Services that were created and not removed, each with what it may be by now: what was
    /// acknowledged last, and what was asked for without an answer.
    pub kept: BTreeMap<String, Vec<ServiceSpec>>,
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
        let keep = number.is_multiple_of(KEEPS_EVERY) && done.kept.len() < KEPT_MAX;
        life(&mut clients[number % count], name, keep, &mut done, &stop).await;
    }
    done
}

/// Create, scale, update, and remove unless it is kept.
async fn life(
    client: &mut Client,
    name: String,
    keep: bool,
    done: &mut Churned,
    stop: &CancellationToken,
) {
    let Ok(mut spec) = spec::service(&name, 2, &spec::STAYS) else { return };
    let created = client.post::<Written>("/v1/services/create", &spec).await;
    pause(stop).await;
    if created.is_err() {
        done.unborn.insert(name.clone());
        done.open.insert(name);
        return;
    }
    done.changes += 1;
    let mut may_be = vec![spec.clone()];
    spec.mode = ServiceMode::Replicated { replicas: 3 };
    for step in ["scaled", "updated"] {
        if step == "updated" {
            let RuntimeSpec::Process(process) = &mut spec.task_template.runtime;
            process.env.insert(UPDATED.to_owned(), step.to_owned());
        }
        let target = format!("/v1/services/{name}/update");
        done.note(client.post::<Written>(&target, &spec).await, &spec, &mut may_be);
        pause(stop).await;
    }
    if keep {
        done.kept.insert(name, may_be);
    } else if client.delete(&format!("/v1/services/{name}")).await.is_ok() {
        done.changes += 1;
        done.removed.insert(name);
    } else {
        done.open.insert(name);
    }
}

async fn pause(stop: &CancellationToken) {
    tokio::select! {
        () = sleep(PACE) => {}
        () = stop.cancelled() => {}
    }
}

impl Churned {
    /// What a service may be after a change to `spec` that ended so. A change without an answer may
    /// come true later than those that were asked for after it.
    fn note(
        &mut self,
        ended: Result<Written, ClientError>,
        spec: &ServiceSpec,
        may_be: &mut Vec<ServiceSpec>,
    ) {
        if ended.is_ok() {
            self.changes += 1;
            // The first is what was acknowledged last.
            may_be[0] = spec.clone();
        } else {
            may_be.push(spec.clone());
        }
    }

    /// Removes what is open, so that the end is known.
    ///
    /// # Errors
    /// When a service can neither be found nor removed.
    pub async fn settle(&mut self, client: &mut Client) -> Result<()> {
        for name in std::mem::take(&mut self.open) {
            remove(client, &name).await?;
            if !self.unborn.contains(&name) {
                self.removed.insert(name);
            }
        }
        Ok(())
    }

    /// Removes what was kept.
    ///
    /// # Errors
    /// When a service can neither be found nor removed.
    pub async fn clear(&mut self, client: &mut Client) -> Result<()> {
        while let Some((name, _may_be)) = self.kept.pop_first() {
            remove(client, &name).await?;
            self.removed.insert(name);
        }
        Ok(())
    }

    /// Holds what a node says exists against what was acknowledged.
    ///
    /// # Errors
    /// A removed service that is there, a kept one that is not, or not as it was acknowledged.
    pub fn check(&self, there: &BTreeMap<String, Arc<ServiceSpec>>) -> Result<(), String> {
        if let Some(back) = self.removed.iter().find(|name| there.contains_key(*name)) {
            return Err(format!("{back} is there, though its removal was acknowledged"));
        }
        for (name, may_be) in &self.kept {
            match there.get(name) {
                None => return Err(format!("{name} is gone, and nobody removed it")),
                Some(spec) if !may_be.contains(spec) => {
                    return Err(format!("{name} is {spec:?}, acknowledged was {:?}", may_be[0]));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// What an update of the load set for a service's programs: the variable, and its value in this spec.
pub fn updated(spec: &ServiceSpec) -> (&'static str, Option<&String>) {
    let RuntimeSpec::Process(process) = &spec.task_template.runtime;
    (UPDATED, process.env.get(UPDATED))
}

async fn remove(client: &mut Client, name: &str) -> Result<()> {
    let target = format!("/v1/services/{name}");
    match client.delete(&target).await {
        Ok(()) => Ok(()),
        Err(error) if error.code() == "not_found" => Ok(()),
        Err(error) => {
            let there = client.get::<ServiceEntry>(&target).await;
            if there.is_err_and(|error| error.code() == "not_found") {
                return Ok(());
            }
            Err(error).with_context(|| format!("remove {name}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaled(replicas: u32) -> ServiceSpec {
        let mut spec = spec::service("kept", 2, &spec::STAYS).expect("a name");
        spec.mode = ServiceMode::Replicated { replicas };
        spec
    }

    #[test]
    fn what_was_acknowledged_must_be_there_and_what_was_removed_must_not() {
        let there = |replicas| BTreeMap::from([("kept".to_owned(), Arc::new(scaled(replicas)))]);
        let mut done = Churned::default();
        done.kept.insert("kept".to_owned(), vec![scaled(3), scaled(4)]);
        assert!(done.check(&there(3)).is_ok(), "acknowledged");
        assert!(done.check(&there(4)).is_ok(), "asked for without an answer");
        assert!(done.check(&there(2)).is_err(), "an acknowledged change is lost");
        assert!(done.check(&BTreeMap::new()).is_err(), "an acknowledged service is lost");
        done.kept.clear();
        assert!(done.check(&there(3)).is_ok(), "nothing is known of it");
        done.removed.insert("kept".to_owned());
        assert!(done.check(&there(3)).is_err(), "an acknowledged removal is lost");
    }
}
