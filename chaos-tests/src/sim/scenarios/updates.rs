//! Updates while leaders come and go: a good version gets everywhere, a bad one is turned back, once.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::FutureExt;
use futures::future::BoxFuture;
use swarm_model::command::Op;
use swarm_model::id::ServiceId;
use swarm_model::runtime::RuntimeSpec;
use swarm_model::service::ServiceSpec;
use swarm_model::share::Share;
use swarm_model::task::Task;
use swarm_model::task_state::ObservedState;
use swarm_model::update::{Cause, UpdateKind, UpdatePhase, UpdatePolicy};
use swarm_model::view::View;
use swarm_node::api::backend::Backend;
use swarm_node::runtime::Behaviour;
use tokio::time::sleep;

use super::{agree, until_exact, until_settled};
use crate::sim::cluster::Kill;
use crate::sim::converge::wait_until;
use crate::sim::faults::leader;
use crate::sim::run::Run;
use crate::sim::workload::service_spec;

const REPLICAS: u32 = 6;
const SEATS: u32 = 2;
/// Ends by itself, too early.
const BROKEN: &str = "broken";

pub(super) fn spec(program: &str) -> Box<ServiceSpec> {
    let mut spec = service_spec("web", REPLICAS, 0, 0);
    let RuntimeSpec::Process(process) = &mut spec.task_template.runtime;
    process.command = vec![program.to_owned()];
    spec.update = UpdatePolicy { parallelism: SEATS, monitor_ms: 800, ..UpdatePolicy::default() };
    spec.rollback = spec.update;
    Box::new(spec)
}

pub(super) fn program(task: &Task) -> &str {
    let RuntimeSpec::Process(process) = &task.template.runtime;
    &process.command[0]
}

/// Leaders hand over or die, alone or with their machines, at moments of chance.
pub(super) async fn change_leaders(run: &mut Run) -> anyhow::Result<()> {
    for _ in 0..4 {
        sleep(run.chance.millis(50, 900)).await;
        let Some(old) = leader(&run.cluster) else { continue };
        if run.chance.percent(50) {
            let node = run.cluster.node(old)?;
            // Who leads then is seen at the end.
            drop(node.core().consensus.transfer_leadership(None).await);
        } else {
            let kind = if run.chance.percent(50) { Kill::Process } else { Kill::Power };
            run.cluster.kill(old, kind).await?;
            sleep(run.chance.millis(200, 1500)).await;
            run.cluster.boot(old).await?;
        }
    }
    Ok(())
}

/// Waits until the update is over as it should be and every slot runs `wanted`.
pub(super) async fn until_over(
    run: &Run,
    id: ServiceId,
    kind: UpdateKind,
    wanted: &str,
) -> anyhow::Result<()> {
    let limit = Duration::from_secs(60);
    wait_until(&run.cluster, "the end of the update", limit, || {
        let number = leader(&run.cluster).ok_or("nobody leads")?;
        let node = run.cluster.node(number).map_err(|error| error.to_string())?;
        let view = node.view();
        let update = view.services.get(&id).and_then(|service| service.update.clone());
        let update = update.ok_or("there is no update")?;
        if (update.kind, update.phase) != (kind, UpdatePhase::Completed) {
            return Err(format!("it is {}: {}", update.word(), update.reason));
        }
        let runs = |task: &&std::sync::Arc<Task>| {
            let runs = task.is_active() && task.status.state == ObservedState::Running;
            runs && program(task) == wanted
        };
        match view.tasks_of(id).filter(runs).count() {
            6 => Ok(()),
            other => Err(format!("{other} of {REPLICAS} run {wanted}")),
        }
    })
    .await
}

pub(super) fn leading_view(run: &Run) -> anyhow::Result<std::sync::Arc<View>> {
    let number = leader(&run.cluster).context("nobody leads")?;
    Ok(run.cluster.node(number)?.view())
}

/// Has the first version of a service run, where a broken one ends soon after its start.
async fn first_runs(run: &mut Run) -> anyhow::Result<ServiceId> {
    for seat in run.cluster.world.seats().values() {
        let after = Duration::from_millis(300);
        seat.runtime.program(BROKEN, Behaviour::Exits { after, code: 1 });
    }
    let id = ServiceId::from_raw(run.chance.wide());
    agree(run, Op::CreateService { id, spec: spec("first") }).await?;
    until_exact(run, 10).await?;
    Ok(id)
}

/// A canary is tried, waits and is promoted under leaders that come and go; one that fails is turned
/// back, and nobody else has heard of it.
pub(super) fn canary(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        let id = first_runs(run).await?;
        let update = |program| {
            let mut spec = spec(program);
            spec.update.canary = Some(Share::Percent(25));
            Op::UpdateService { id, version: None, spec, steered: true }
        };
        agree(run, update("second")).await?;
        change_leaders(run).await?;
        let limit = Duration::from_secs(60);
        wait_until(&run.cluster, "a canary that waits", limit, || {
            let view = leading_view(run).map_err(|error| error.to_string())?;
            let update = view.services.get(&id).and_then(|service| service.update.clone());
            let update = update.ok_or("there is no update")?;
            if update.awaits_promotion() { Ok(()) } else { Err(format!("{update:?}")) }
        })
        .await?;
        change_leaders(run).await?;
        until_settled(run, 30).await?;
        only_canary(run, id, "second")?;
        agree(run, Op::PromoteUpdate { id }).await?;
        change_leaders(run).await?;
        until_over(run, id, UpdateKind::Update, "second").await?;
        agree(run, update(BROKEN)).await?;
        change_leaders(run).await?;
        until_over(run, id, UpdateKind::Rollback, "second").await?;
        until_exact(run, 30).await?;
        only_canary(run, id, BROKEN)?;
        run.settle().await
    }
    .boxed()
}

/// Demands that `tried` came to no more slots than the canary's, two of six.
fn only_canary(run: &Run, id: ServiceId, tried: &str) -> anyhow::Result<()> {
    let view = leading_view(run)?;
    let tried = view.tasks_of(id).filter(|task| program(task) == tried);
    let slots: BTreeSet<_> = tried.map(|task| task.slot).collect();
    ensure!((1..=2).contains(&slots.len()), "slots {slots:?} had the canary");
    Ok(())
}

pub(super) fn survive_leaders(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        let id = first_runs(run).await?;
        let update = |program| {
            let spec = spec(program);
            Op::UpdateService { id, version: None, spec, steered: true }
        };
        agree(run, update("second")).await?;
        change_leaders(run).await?;
        until_over(run, id, UpdateKind::Update, "second").await?;
        agree(run, update(BROKEN)).await?;
        change_leaders(run).await?;
        until_over(run, id, UpdateKind::Rollback, "second").await?;
        let view = leading_view(run)?;
        let tried: Vec<_> = view.tasks_of(id).filter(|task| program(task) == BROKEN).collect();
        let slots: BTreeSet<_> = tried.iter().map(|task| task.slot).collect();
        let most = usize::try_from(SEATS)?;
        ensure!(slots.len() <= most, "{slots:?} tried the broken version: {tried:#?}");
        let history = view.histories.get(&id).context("there is a history")?;
        let back = |cause: &Cause| matches!(cause, Cause::RolledBack { .. });
        let turns = history.records().iter().filter(|record| back(&record.cause)).count();
        ensure!(turns == 1, "turned back {turns} times");
        until_exact(run, 30).await?;
        run.settle().await
    }
    .boxed()
}
