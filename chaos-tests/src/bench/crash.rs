//! A task's program is killed: how long until its replacement runs.

use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Signal;
use swarm_model::task_state::ObservedState;
use swarm_node::api::types::{TaskEntry, Written};
use tokio::time::sleep;

use super::report::{Report, Row};
use super::samples::Samples;
use crate::real::{Cluster, Stopwatch, encode, processes, spec};

const TARGET: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_secs(20);

/// Adds the row: each of the service's slots crashes once.
pub(super) async fn run(runs: usize, report: &mut Report) -> Result<()> {
    let cluster = Cluster::start(3, 0).await?;
    let mut client = cluster.client(0);
    let replicas = u32::try_from(runs.max(5))?;
    let spec = spec::service("crash", replicas, &spec::STAYS)?;
    client.post::<Written>("/v1/services/create", &spec).await?;
    cluster.converged(0, "crash", PATIENCE).await?;
    let mut samples = Samples::new();
    for task in cluster.wanted_tasks(0, "crash").await? {
        let pid = i32::try_from(task.task.status.pid.context("no process id")?)?;
        let filter = format!(r#"{{"name":["{}"],"desired-state":["running"]}}"#, task.name);
        let target = format!("/v1/tasks?stale=true&filters={}", encode(&filter));
        let watch = Stopwatch::start();
        processes::signal(pid, Signal::KILL)?;
        loop {
            let tasks: Vec<TaskEntry> = client.get(&target).await?;
            let replaced = tasks.iter().any(|it| {
                it.name == task.name
                    && it.task.id != task.task.id
                    && it.task.status.state == ObservedState::Running
            });
            if replaced {
                break;
            }
            anyhow::ensure!(watch.elapsed() < PATIENCE, "{} was not replaced", task.name);
            sleep(Duration::from_millis(1)).await;
        }
        samples.push(watch.elapsed());
    }
    let what = "task crash → replacement Running (first restart)";
    let mut row = Row::span(what, samples.median(), ("", Duration::ZERO), TARGET);
    (row.raw, row.ratio) =
        (format!("worst {}", super::samples::Span(samples.worst())), String::new());
    report.add(row);
    Ok(())
}
