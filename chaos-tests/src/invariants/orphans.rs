//! I: every program belongs to a task that is wanted there, and every running task has its program.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, bail};
use swarm_model::task_state::ObservedState;

use super::slots::programs;
use crate::real::{Cluster, wait_until};

/// Waits until the programs of a service are exactly the tasks that `witness` knows as running.
///
/// # Errors
/// What is too much or missing when `within` is over.
pub async fn no_orphans(
    cluster: &Cluster,
    witness: usize,
    service: &str,
    within: Duration,
) -> Result<()> {
    let mut last = String::new();
    let settled = wait_until("programs and tasks agree", within, async || {
        match difference(cluster, witness, service).await {
            Ok(()) => Some(()),
            Err(error) => {
                last = format!("{error:#}");
                None
            }
        }
    });
    settled.await.map_err(|error| error.context(last))
}

async fn difference(cluster: &Cluster, witness: usize, service: &str) -> Result<()> {
    let tasks = cluster.wanted_tasks(witness, service).await?;
    let running = tasks.iter().filter(|it| it.task.status.state == ObservedState::Running);
    let known: BTreeSet<String> = running.map(|it| it.task.id.to_string()).collect();
    let real: BTreeSet<String> =
        programs(cluster, service)?.into_iter().map(|program| program.task).collect();
    let orphans: Vec<_> = real.difference(&known).collect();
    let missing: Vec<_> = known.difference(&real).collect();
    if !orphans.is_empty() || !missing.is_empty() {
        bail!("{service}: programs without task {orphans:?}, tasks without program {missing:?}");
    }
    Ok(())
}
