//! After the faults: what must come about by itself, and how soon.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use swarm_model::id::{ServiceId, TaskId};
use swarm_model::node::Reachability;
use swarm_model::service::ServiceMode;
use swarm_model::task::Slot;
use swarm_model::task_state::ObservedState;
use swarm_model::view::View;
use swarm_node::api::backend::Backend;
use tokio::time::{Instant, sleep};

use super::cluster::Cluster;
use super::faults::leader;
use super::ledger::Ledger;

/// C: one leader, no joint membership, everybody heard of and caught up.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);
/// Z: the tasks of a removed service are gone.
const REMOVED_WITHIN: Duration = Duration::from_secs(30);
/// R: replicas are exact.
const EXACT_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Waits until `look` finds nothing wrong any more.
///
/// # Errors
/// What is still wrong after `limit`, or a violation meanwhile.
pub async fn wait_until(
    cluster: &Cluster,
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<(), String>,
) -> anyhow::Result<()> {
    let end = Instant::now() + limit;
    loop {
        cluster.world.check()?;
        let Err(wrong) = look() else {
            cluster.world.note(&format!("reached: {what}"));
            return Ok(());
        };
        if Instant::now() >= end {
            cluster.world.violate(&format!("{what} not within {limit:?}: {wrong}"));
        }
        sleep(LOOK).await;
    }
}

/// Demands that the healed cluster converges: C, Z, R, D and H, in their times from now.
///
/// # Errors
/// The first demand that is not met.
pub async fn demand(cluster: &Cluster, ledger: &Ledger) -> anyhow::Result<()> {
    let healed = Instant::now();
    let left = |limit: Duration| limit.saturating_sub(healed.elapsed());
    wait_until(cluster, "C: a settled cluster", SETTLED_WITHIN, || settled(cluster)).await?;
    wait_until(cluster, "Z: no tasks of removed services", left(REMOVED_WITHIN), || {
        nothing_left_over(cluster)
    })
    .await?;
    wait_until(cluster, "R: exact replicas", left(EXACT_WITHIN), || exact(cluster)).await?;
    wait_until(cluster, "H: one state everywhere", SETTLED_WITHIN, || same_everywhere(cluster))
        .await?;
    let page = ledger.page();
    for (number, up) in cluster.world.up() {
        match ledger.verify(&page, &up.node.view()) {
            Ok(_) => cluster.world.count("check: registers compared"),
            Err(what) => cluster.world.violate(&format!("on n{number}: {what}")),
        }
    }
    cluster.world.check()
}

fn leading_view(cluster: &Cluster) -> Result<std::sync::Arc<View>, String> {
    let number = leader(cluster).ok_or("nobody leads")?;
    Ok(cluster.node(number).map_err(|error| error.to_string())?.view())
}

/// C.
pub fn settled(cluster: &Cluster) -> Result<(), String> {
    let number = leader(cluster).ok_or("nobody leads")?;
    let node = cluster.node(number).map_err(|error| error.to_string())?;
    let status = node.core().consensus.status_now();
    if status.joint {
        return Err("the change of the voters is not finished".to_owned());
    }
    let view = node.view();
    for (other, up) in cluster.world.up() {
        let theirs = up.node.core().consensus.status_now();
        if theirs.leader != Some(node.core().id) || theirs.term != status.term {
            return Err(format!("n{other} does not follow n{number}"));
        }
        if let Some(fault) = theirs.fault {
            return Err(format!("n{other} has stopped: {fault}"));
        }
        if theirs.applied.0 + 5 < status.last_log.0 {
            return Err(format!("n{other} is at {} of {}", theirs.applied, status.last_log));
        }
        let id = up.node.core().id;
        match view.nodes.get(&id) {
            None => return Err(format!("n{other} is no member")),
            Some(member) if member.status.reachability != Reachability::Ready => {
                return Err(format!("n{other} counts as {}", member.status.reachability));
            }
            Some(_) => {}
        }
        if !status.voters.contains(&id) && !status.learners.contains(&id) {
            return Err(format!("n{other} is not fed"));
        }
    }
    Ok(())
}

/// What really runs, by service and slot, on all machines.
fn really_running(
    cluster: &Cluster,
    view: &View,
) -> Result<BTreeMap<ServiceId, Vec<(Slot, TaskId)>>, String> {
    let mut running: BTreeMap<ServiceId, Vec<(Slot, TaskId)>> = BTreeMap::new();
    for (number, seat) in cluster.world.seats() {
        for id in seat.runtime.running() {
            let task = view.tasks.get(&id);
            let task =
                task.ok_or_else(|| format!("n{number} runs {}, which is forgotten", id.short()))?;
            running.entry(task.service).or_default().push((task.slot, id));
        }
    }
    Ok(running)
}

/// Z.
fn nothing_left_over(cluster: &Cluster) -> Result<(), String> {
    let view = leading_view(cluster)?;
    if let Some(service) = view.services.values().find(|service| service.removing) {
        return Err(format!("service {} is still being removed", service.spec.name));
    }
    let orphan = view.tasks.values().find(|task| !view.services.contains_key(&task.service));
    if let Some(task) = orphan {
        return Err(format!("task {} has no service", task.id.short()));
    }
    really_running(cluster, &view).map(drop)
}

/// R: what runs is what was asked for, and the cluster knows it. While no node takes tasks, those
/// that are there serve on and none takes their place.
pub fn exact(cluster: &Cluster) -> Result<(), String> {
    let view = leading_view(cluster)?;
    let running = really_running(cluster, &view)?;
    let hosts = view.nodes.values().filter(|node| node.takes_tasks()).count();
    for service in view.services.values() {
        let wanted = match service.spec.mode {
            ServiceMode::Replicated { replicas } => usize::try_from(replicas).unwrap_or(0),
            ServiceMode::Global {} => hosts,
            // What a job wants is up to its run.
            ServiceMode::ReplicatedJob { .. } | ServiceMode::GlobalJob {} => continue,
        };
        let least = if hosts == 0 { 0 } else { wanted };
        let runs = running.get(&service.id).map(Vec::as_slice).unwrap_or_default();
        let slots: BTreeSet<Slot> = runs.iter().map(|(slot, _)| *slot).collect();
        let name = &service.spec.name;
        if !(least..=wanted).contains(&runs.len()) || slots.len() != runs.len() {
            return Err(format!(
                "{name}: {} tasks in {} slots run, {wanted} are wanted{}",
                runs.len(),
                slots.len(),
                tasks_of(&view, service.id)
            ));
        }
        for (_, id) in runs {
            let task = view.tasks.get(id).ok_or("a task vanished")?;
            if task.status.state != ObservedState::Running {
                return Err(format!(
                    "{name}: {} runs and counts as {}",
                    id.short(),
                    task.status.state
                ));
            }
            if task.template_version != service.template_version && hosts > 0 {
                return Err(format!("{name}: {} is not updated", id.short()));
            }
        }
    }
    Ok(())
}

fn tasks_of(view: &View, service: ServiceId) -> String {
    let task = |task: &std::sync::Arc<swarm_model::task::Task>| {
        let node = task.node.and_then(|id| view.nodes.get(&id));
        format!(
            "; {}: slot {} on {} wanted {} is {} {}",
            task.id.short(),
            task.slot,
            node.map_or("nobody", |node| node.description.hostname.as_str()),
            task.desired,
            task.status.state,
            task.status.error
        )
    };
    view.tasks_of(service).map(task).collect()
}

/// H, at rest.
fn same_everywhere(cluster: &Cluster) -> Result<(), String> {
    let view = leading_view(cluster)?;
    for (number, up) in cluster.world.up() {
        let theirs = up.node.view();
        if theirs.revision != view.revision {
            return Err(format!("n{number} is at {}, not {}", theirs.revision, view.revision));
        }
        if theirs != view {
            return Err(format!("n{number} differs at {}", view.revision));
        }
    }
    Ok(())
}
