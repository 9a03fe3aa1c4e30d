//! Tasks that fall ill while leaders and daemons come and go: nobody counts as running who is not well,
//! a version that never gets well is turned back, and who falls ill is replaced.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::FutureExt;
use futures::future::BoxFuture;
use swarm_model::command::Op;
use swarm_model::id::ServiceId;
use swarm_model::probe::{Check, Probe};
use swarm_model::service::ServiceSpec;
use swarm_model::task_state::ObservedState;
use swarm_model::update::UpdateKind;
use swarm_node::runtime::Condition;
use tokio::time::sleep;

use super::updates::{self, change_leaders, leading_view, until_over};
use super::{agree, until_exact};
use crate::sim::cluster::Kill;
use crate::sim::converge::wait_until;
use crate::sim::run::Run;

/// Its tasks need a while to get well.
const SLOW: &str = "slow";
/// Its tasks never get well.
const ILL: &str = "ill";

fn spec(program: &str) -> Box<ServiceSpec> {
    let mut spec = updates::spec(program);
    let probe = Probe::new(Check::Tcp { port: 80 });
    let health = Probe { interval_ms: 500, timeout_ms: 300, retries: 2, ..probe };
    spec.task_template.ready = Some(health.clone());
    spec.task_template.health = Some(health);
    spec.task_template.drain_delay_ms = 400;
    spec
}

/// What tasks of `program` on machine `number` (of all when `None`) answer from now on.
fn condition(run: &Run, number: Option<u32>, program: &str, condition: &Condition) {
    for (seat, machine) in run.cluster.world.seats() {
        if number.is_none_or(|only| only == seat) {
            machine.runtime.condition(program, condition.clone());
        }
    }
}

/// The tasks on machine `number` fall ill while its daemon is dead, which finds them so afterwards.
async fn fall_ill_unseen(run: &mut Run, number: u32) -> anyhow::Result<()> {
    let seat = |run: &Run| run.cluster.world.seats().get(&number).cloned().context("a machine");
    run.cluster.kill(number, Kill::Process).await?;
    let before = seat(run)?.runtime.running();
    ensure!(!before.is_empty(), "machine {number} has no tasks that could fall ill");
    condition(run, Some(number), SLOW, &Condition::Ill);
    sleep(run.chance.millis(100, 900)).await;
    ensure!(seat(run)?.runtime.running() == before, "tasks ended without a daemon");
    run.cluster.boot(number).await?;
    wait_until(&run.cluster, "the end of who is ill", Duration::from_secs(30), || {
        let left = run.cluster.world.seats().get(&number).map(|seat| seat.runtime.running());
        let left = left.unwrap_or_default().into_iter().filter(|task| before.contains(task));
        match left.count() {
            0 => Ok(()),
            left => Err(format!("{left} of {} still run", before.len())),
        }
    })
    .await
}

pub(super) fn under_faults(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        condition(run, None, SLOW, &Condition::WellAfter(Duration::from_millis(700)));
        condition(run, None, ILL, &Condition::Ill);
        let id = ServiceId::from_raw(run.chance.wide());
        agree(run, Op::CreateService { id, spec: spec(SLOW) }).await?;
        until_exact(run, 20).await?;
        let update = Op::UpdateService { id, version: None, spec: spec(ILL), steered: true };
        agree(run, update).await?;
        change_leaders(run).await?;
        until_over(run, id, UpdateKind::Rollback, SLOW).await?;
        let view = leading_view(run)?;
        let ran = |task: &&std::sync::Arc<swarm_model::task::Task>| {
            updates::program(task) == ILL && task.ran_at.is_some()
        };
        ensure!(view.tasks_of(id).filter(ran).count() == 0, "somebody ill counted as running");
        // Machine 5 is a worker: its daemon's death changes no leader.
        fall_ill_unseen(run, 5).await?;
        condition(run, Some(5), SLOW, &Condition::Well);
        until_exact(run, 60).await?;
        let ready = |task: &&std::sync::Arc<swarm_model::task::Task>| {
            task.is_active()
                && task.status.state == ObservedState::Running
                && task.status.is_ready()
        };
        wait_until(&run.cluster, "all are ready", Duration::from_secs(30), || {
            let view = leading_view(run).map_err(|error| error.to_string())?;
            match view.tasks_of(id).filter(ready).count() {
                6 => Ok(()),
                other => Err(format!("{other} of 6 are ready")),
            }
        })
        .await?;
        run.settle().await
    }
    .boxed()
}
