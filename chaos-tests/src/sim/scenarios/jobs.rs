//! Jobs while leaders come and go: exactly as many successes as were asked for, however many tasks it took.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::FutureExt;
use futures::future::BoxFuture;
use swarm_model::command::Op;
use swarm_model::id::ServiceId;
use swarm_model::job::{Run as JobRun, RunPhase};
use swarm_model::restart::RestartCondition;
use swarm_model::runtime::RuntimeSpec;
use swarm_model::schedule::{CatchUp, Overlap, ScheduleSpec};
use swarm_model::service::{ServiceMode, ServiceSpec};
use swarm_model::task::Slot;
use swarm_model::task_state::ObservedState;
use swarm_node::api::backend::Backend;
use swarm_node::runtime::Behaviour;
use tokio::time::sleep;

use super::agree;
use crate::sim::cluster::Kill;
use crate::sim::converge::wait_until;
use crate::sim::faults::leader;
use crate::sim::run::Run;
use crate::sim::workload::service_spec;

const COMPLETIONS: u32 = 20;
const SEATS: u32 = 3;
const LEADERS: u32 = 10;
/// Ends well, after a while.
const WORK: &str = "work";

/// A job of programs that end well.
pub(super) fn spec(name: &str, completions: u32, max_concurrent: u32) -> Box<ServiceSpec> {
    let mut spec = service_spec(name, 1, 0, 0);
    let RuntimeSpec::Process(process) = &mut spec.task_template.runtime;
    process.command = vec![WORK.to_owned()];
    spec.mode = ServiceMode::ReplicatedJob { completions, max_concurrent };
    spec.task_template.restart_policy.condition = RestartCondition::OnFailure;
    (spec.update, spec.rollback) = Default::default();
    Box::new(spec)
}

/// Says what the work is on all machines.
pub(super) fn program(run: &Run, after: Duration) {
    for seat in run.cluster.world.seats().values() {
        seat.runtime.program(WORK, Behaviour::Exits { after, code: 0 });
    }
}

pub(super) fn twenty_runs_ten_leaders(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        program(run, Duration::from_millis(700));
        let id = ServiceId::from_raw(run.chance.wide());
        agree(run, Op::CreateService { id, spec: spec("batch", COMPLETIONS, SEATS) }).await?;
        let mut changes = 0;
        while changes < LEADERS {
            sleep(run.chance.millis(50, 600)).await;
            let Some(old) = leader(&run.cluster) else { continue };
            if run.chance.percent(60) {
                let node = run.cluster.node(old)?;
                drop(node.core().consensus.transfer_leadership(None).await);
            } else {
                run.cluster.kill(old, Kill::Process).await?;
                sleep(run.chance.millis(200, 1200)).await;
                run.cluster.boot(old).await?;
            }
            let limit = Duration::from_secs(30);
            wait_until(&run.cluster, "the next leader", limit, || {
                leader(&run.cluster).map(drop).ok_or_else(|| "nobody leads".to_owned())
            })
            .await?;
            changes += 1;
        }
        until_complete(run, id, 1).await?;
        run.settle().await
    }
    .boxed()
}

/// Waits until run `number` is complete, and holds it against the tasks that ended.
pub(super) async fn until_complete(run: &Run, id: ServiceId, number: u64) -> anyhow::Result<()> {
    let limit = Duration::from_secs(120);
    wait_until(&run.cluster, "the end of the run", limit, || {
        let at = leader(&run.cluster).ok_or("nobody leads")?;
        let view = run.cluster.node(at).map_err(|error| error.to_string())?.view();
        let found = view.runs.get(&(id, number)).ok_or("there is no run")?;
        match found.phase {
            RunPhase::Complete => Ok(()),
            _ => Err(format!("{} of {} succeeded", found.succeeded.count(), found.completions)),
        }
    })
    .await?;
    let at = leader(&run.cluster).context("nobody leads")?;
    let view = run.cluster.node(at)?.view();
    let found = view.runs.get(&(id, number)).context("there is a run")?;
    ensure!(found.succeeded.count() == found.completions, "{found:?}");
    let ended = view.tasks_of(id).filter(|task| task.status.state == ObservedState::Complete);
    let slots: BTreeSet<Slot> =
        ended.map(|task| task.slot).filter(|slot| slot.run() == Some(number)).collect();
    let count = u32::try_from(slots.len()).unwrap_or(u32::MAX);
    ensure!(count == found.completions, "{count} slots have a task that ended well");
    Ok(())
}

const DAY_MS: i64 = 24 * 3600 * 1000;
const HOUR_MS: u64 = 3600 * 1000;

/// Hourly jobs while there is no majority for a day: what was missed is made up for as each of them asks, once,
/// although the leader changes while it is at it.
pub(super) fn schedule_day_without_quorum(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        program(run, Duration::from_millis(200));
        let mut ids = Vec::new();
        for catch_up in [CatchUp::None, CatchUp::Last, CatchUp::All] {
            let mut spec = spec(&format!("catch-{catch_up}"), 1, 0);
            spec.job.keep_runs = 100;
            spec.schedule = Some(ScheduleSpec {
                cron: "0 * * * *".parse()?,
                time_zone: "Europe/Berlin".to_owned(),
                overlap: Overlap::Skip,
                catch_up,
            });
            let id = ServiceId::from_raw(run.chance.wide());
            agree(run, Op::CreateService { id, spec }).await?;
            ids.push(id);
        }
        for number in [1, 2] {
            run.cluster.kill(number, Kill::Process).await?;
        }
        sleep(run.chance.millis(1000, 5000)).await;
        for number in run.cluster.numbers() {
            run.cluster.set_clock(number, DAY_MS)?;
        }
        for number in [1, 2] {
            run.cluster.boot(number).await?;
        }
        sleep(run.chance.millis(1500, 5000)).await;
        if let Some(old) = leader(&run.cluster) {
            run.cluster.kill(old, Kill::Process).await?;
            sleep(run.chance.millis(200, 2000)).await;
            run.cluster.boot(old).await?;
        }
        let limit = Duration::from_secs(120);
        wait_until(&run.cluster, "what was missed", limit, || {
            let at = leader(&run.cluster).ok_or("nobody leads")?;
            let view = run.cluster.node(at).map_err(|error| error.to_string())?.view();
            let counts: Vec<_> = ids
                .iter()
                .map(|id| {
                    let runs = || view.runs_of(*id);
                    // One that was due on time while another was made up for is left out.
                    let over = |run: &JobRun| match run.phase {
                        RunPhase::Complete | RunPhase::Skipped { .. } => true,
                        RunPhase::Active
                        | RunPhase::Failed { .. }
                        | RunPhase::Replaced
                        | RunPhase::Stopped => false,
                    };
                    let open = runs().filter(|run| !over(run)).count();
                    let dues = runs().filter_map(|run| run.due.map(|due| due.as_millis()));
                    let dues: Vec<_> = dues.collect();
                    let hourly = dues.windows(2).all(|pair| pair[1] == pair[0] + HOUR_MS);
                    (dues.len(), open, hourly)
                })
                .collect();
            match counts[..] {
                // An hour may have been full right when the majority came back.
                [(0 | 1, 0, _), (1 | 2, 0, _), (24 | 25, 0, true)] => Ok(()),
                _ => Err(format!("runs, open ones, hour by hour: {counts:?}")),
            }
        })
        .await?;
        run.settle().await
    }
    .boxed()
}
