//! I and R: over all services, the programs that run are exactly the tasks that should, one a slot.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Result, bail};
use swarm_model::task_state::ObservedState;
use swarm_node::api::types::{ServiceEntry, TaskEntry};

use super::slots::every_program;
use crate::real::{Cluster, encode, wait_until};

/// Waits until every service has what it wants and nothing else runs; gives the number of tasks.
///
/// # Errors
/// What is too much or missing when `within` is over.
pub async fn programs_are_tasks(
    cluster: &Cluster,
    witness: usize,
    within: Duration,
) -> Result<usize> {
    let mut last = String::new();
    let settled = wait_until("programs, tasks and replicas agree", within, async || {
        match difference(cluster, witness).await {
            Ok(tasks) => Some(tasks),
            Err(error) => {
                last = format!("{error:#}");
                // Each look asks the API for everything and reads all of /proc: not every 10 ms.
                tokio::time::sleep(Duration::from_millis(200)).await;
                None
            }
        }
    });
    settled.await.map_err(|error| error.context(last))
}

async fn difference(cluster: &Cluster, witness: usize) -> Result<usize> {
    let mut client = cluster.client(witness);
    for entry in client.get::<Vec<ServiceEntry>>("/v1/services").await? {
        let counts = entry.service_status;
        let wanted = counts.desired_tasks;
        if counts.running_tasks != wanted || counts.updated_tasks != wanted {
            bail!("{}: {counts:?}", entry.service.spec.name);
        }
    }
    let filters = encode(r#"{"desired-state":["running"]}"#);
    let tasks: Vec<TaskEntry> = client.get(&format!("/v1/tasks?filters={filters}")).await?;
    let running = tasks.iter().filter(|it| it.task.status.state == ObservedState::Running);
    let known: BTreeSet<String> = running.map(|it| it.task.id.to_string()).collect();
    let mut slots = BTreeMap::new();
    let mut real = BTreeSet::new();
    for (service, program) in every_program(cluster)? {
        let slot = (service, program.slot.clone());
        if let Some(other) = slots.insert(slot.clone(), program.clone()) {
            bail!("slot {} of {} runs twice: {other:?} and {program:?}", slot.1, slot.0);
        }
        real.insert(program.task);
    }
    let orphans: Vec<_> = real.difference(&known).collect();
    let missing: Vec<_> = known.difference(&real).collect();
    if !orphans.is_empty() || !missing.is_empty() {
        bail!("programs without task {orphans:?}, tasks without program {missing:?}");
    }
    Ok(known.len())
}
