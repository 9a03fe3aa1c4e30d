//! Scripted runs: one fault each, at the moment that hurts most, from the catalogue of what must be
//! survived. The seed moves that moment about.

mod clocks;
mod disks;
mod drains;
mod health;
mod jobs;
mod lanes;
mod links;
mod lost_replicas;
mod members;
mod reads;
mod recovery;
mod snapshots;
mod standbys;
mod updates;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::FutureExt;
use futures::future::BoxFuture;
use swarm_model::command::Op;
use swarm_model::id::{ServiceId, TaskId};
use swarm_model::meta::Revision;
use swarm_model::node::{Reachability, Role};
use swarm_node::api::backend::Backend;
use swarm_node::runtime::MockEventKind;
use tokio::time::sleep;

use super::cluster::{Kill, Shape};
use super::converge::{exact, settled, wait_until};
use super::faults::leader;
use super::run::{Body, Run};
use super::workload::{self, Settled, service_spec};

/// One scripted run.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What it runs on.
    pub shape: Shape,
    /// What happens.
    pub body: Body,
}

const ONE: Shape = Shape { managers: 1, workers: 0, snapshot_interval: 10_000 };
const THREE: Shape = Shape { managers: 3, workers: 0, snapshot_interval: 10_000 };
const THREE_AND_TWO: Shape = Shape { managers: 3, workers: 2, snapshot_interval: 10_000 };
const FIVE: Shape = Shape { managers: 5, workers: 0, snapshot_interval: 10_000 };
const COMPACTING: Shape = Shape { managers: 3, workers: 1, snapshot_interval: 100 };
const COMPACTING_FIVE: Shape = Shape { managers: 5, workers: 0, snapshot_interval: 100 };

/// Every scenario.
pub const ALL: [Scenario; 47] = [
    Scenario {
        name: "leader-killed-placing-200-tasks",
        shape: THREE_AND_TWO,
        body: leader_killed_placing,
    },
    Scenario { name: "leader-in-the-minority", shape: FIVE, body: leader_in_the_minority },
    Scenario { name: "leader-in-the-majority", shape: FIVE, body: leader_in_the_majority },
    Scenario { name: "power-cut-of-all", shape: THREE_AND_TWO, body: power_cut_of_all },
    Scenario { name: "power-cuts-after-answers", shape: THREE, body: power_cuts_after_answers },
    Scenario { name: "daemon-restart-adopts", shape: THREE, body: daemon_restart_adopts },
    Scenario { name: "worker-lost-and-back", shape: THREE_AND_TWO, body: worker_lost_and_back },
    Scenario {
        name: "leaders-change-during-an-update",
        shape: THREE_AND_TWO,
        body: leaders_change_during_update,
    },
    Scenario {
        name: "update-survives-leaders",
        shape: THREE_AND_TWO,
        body: updates::survive_leaders,
    },
    Scenario { name: "canary-survives-leaders", shape: THREE_AND_TWO, body: updates::canary },
    Scenario { name: "health-under-faults", shape: THREE_AND_TWO, body: health::under_faults },
    Scenario {
        name: "job-twenty-runs-ten-leaders",
        shape: THREE_AND_TWO,
        body: jobs::twenty_runs_ten_leaders,
    },
    Scenario {
        name: "schedule-day-without-quorum",
        shape: THREE_AND_TWO,
        body: jobs::schedule_day_without_quorum,
    },
    Scenario { name: "drain", shape: THREE_AND_TWO, body: drains::one },
    Scenario { name: "drain-all", shape: THREE, body: drains::all },
    Scenario { name: "quorum-lost-and-back", shape: THREE_AND_TWO, body: quorum_lost },
    Scenario {
        name: "service-removed-while-its-worker-is-down",
        shape: THREE_AND_TWO,
        body: removed_while_down,
    },
    Scenario { name: "follower-behind-a-snapshot", shape: COMPACTING, body: behind_a_snapshot },
    Scenario { name: "join-while-leaders-die", shape: THREE, body: join_while_leaders_die },
    Scenario { name: "one-seven-one", shape: ONE, body: members::one_seven_one },
    Scenario { name: "standbys-take-votes", shape: THREE, body: standbys::take_votes },
    Scenario { name: "one-way-links", shape: FIVE, body: one_way_links },
    Scenario { name: "slow-links", shape: FIVE, body: links::slow },
    Scenario { name: "replayed-datagrams", shape: FIVE, body: links::replayed },
    Scenario { name: "each-alone-in-turn", shape: FIVE, body: links::each_alone },
    Scenario { name: "dark-links", shape: THREE_AND_TWO, body: links::dark },
    Scenario { name: "bridge", shape: FIVE, body: links::bridge },
    Scenario { name: "ring-of-majorities", shape: FIVE, body: links::ring },
    Scenario { name: "flapping-link", shape: FIVE, body: links::flapping },
    Scenario { name: "gossip-lane-cut", shape: FIVE, body: lanes::gossip },
    Scenario { name: "raft-lane-cut", shape: FIVE, body: lanes::raft },
    Scenario { name: "reads-while-cut-off", shape: FIVE, body: reads::cut_off },
    Scenario { name: "wall-clocks-apart", shape: THREE, body: clocks::apart },
    Scenario { name: "wall-clocks-jump", shape: THREE, body: clocks::jumping },
    Scenario { name: "retried-under-other-clocks", shape: THREE, body: clocks::retried },
    Scenario { name: "failing-disks", shape: THREE_AND_TWO, body: disks::failing },
    Scenario {
        name: "killed-while-taking-a-snapshot",
        shape: COMPACTING,
        body: snapshots::cut_short,
    },
    Scenario {
        name: "members-change-under-partitions",
        shape: COMPACTING_FIVE,
        body: snapshots::members_and_partitions,
    },
    Scenario {
        name: "damaged-log-comes-back",
        shape: THREE_AND_TWO,
        body: lost_replicas::damaged_log,
    },
    Scenario { name: "two-damaged-of-five", shape: FIVE, body: lost_replicas::two_of_five },
    Scenario {
        name: "damaged-without-a-majority",
        shape: THREE,
        body: lost_replicas::without_a_majority,
    },
    Scenario { name: "emptied-replica", shape: COMPACTING, body: lost_replicas::emptied },
    Scenario { name: "old-copy", shape: THREE_AND_TWO, body: lost_replicas::old_copy },
    Scenario {
        name: "killed-while-it-comes-back",
        shape: THREE,
        body: lost_replicas::killed_meanwhile,
    },
    Scenario {
        name: "killed-at-each-step-of-coming-back",
        shape: THREE,
        body: lost_replicas::killed_at_each_step,
    },
    Scenario {
        name: "majority-lost-and-recovered",
        shape: THREE_AND_TWO,
        body: recovery::majority_lost,
    },
    Scenario { name: "its-voters-are-gone", shape: FIVE, body: lost_replicas::voters_gone },
];

/// Has `op` agreed on.
async fn agree(run: &mut Run, op: Op) -> anyhow::Result<Revision> {
    let world = run.cluster.world.clone();
    match workload::propose(&world, &mut run.chance, op).await {
        Settled::Applied(at, _) => Ok(at),
        other => anyhow::bail!("not agreed on: {other:?}"),
    }
}

async fn create(run: &mut Run, name: &str, replicas: u32) -> anyhow::Result<ServiceId> {
    let id = ServiceId::from_raw(run.chance.wide());
    let spec = Box::new(service_spec(name, replicas, 0, 0));
    agree(run, Op::CreateService { id, spec }).await?;
    Ok(id)
}

async fn until_exact(run: &Run, seconds: u64) -> anyhow::Result<()> {
    let limit = Duration::from_secs(seconds);
    wait_until(&run.cluster, "exact replicas", limit, || exact(&run.cluster)).await
}

async fn until_settled(run: &Run, seconds: u64) -> anyhow::Result<()> {
    let limit = Duration::from_secs(seconds);
    wait_until(&run.cluster, "a settled cluster", limit, || settled(&run.cluster)).await
}

fn leader_of(run: &Run) -> anyhow::Result<u32> {
    leader(&run.cluster).context("nobody leads")
}

/// Waits for a leader among `numbers` that is not `not`.
async fn new_leader(run: &Run, numbers: &[u32], not: u32, seconds: u64) -> anyhow::Result<()> {
    let limit = Duration::from_secs(seconds);
    wait_until(&run.cluster, "a new leader", limit, || match leader(&run.cluster) {
        Some(number) if number != not && numbers.contains(&number) => Ok(()),
        other => Err(format!("{other:?} leads")),
    })
    .await
}

fn others(run: &Run, than: &[u32]) -> Vec<u32> {
    run.cluster.numbers().into_iter().filter(|number| !than.contains(number)).collect()
}

/// Lets the clients go on for a while; it means something only with `least` writes acknowledged.
async fn goes_on(run: &Run, seconds: u64, least: u64, meanwhile: &str) -> anyhow::Result<()> {
    let before = run.ledger.acknowledged();
    sleep(Duration::from_secs(seconds)).await;
    let written = run.ledger.acknowledged() - before;
    ensure!(written >= least, "{written} writes in {seconds} s {meanwhile}");
    Ok(())
}

/// Mends all links and demands that the cluster is well again.
async fn heal_and_settle(run: &mut Run) -> anyhow::Result<()> {
    run.cluster.heal();
    until_settled(run, 30).await?;
    run.settle().await
}

/// Every machine loses power in the same moment.
async fn power_cut(run: &mut Run) -> anyhow::Result<()> {
    let all: Vec<_> = run.cluster.numbers().into_iter().map(|n| (n, Kill::Power)).collect();
    run.cluster.kill_together(&all).await
}

fn running(run: &Run) -> BTreeSet<(u32, TaskId)> {
    let seats = run.cluster.world.seats();
    let of = |(number, seat): (&u32, &super::world::Seat)| {
        let number = *number;
        seat.runtime.running().into_iter().map(move |task| (number, task)).collect::<Vec<_>>()
    };
    seats.iter().flat_map(of).collect()
}

/// A machine that runs tasks and does not lead.
fn busy_follower(run: &Run) -> anyhow::Result<u32> {
    let leading = leader_of(run)?;
    let busy = running(run).into_iter().map(|(number, _)| number).find(|n| *n != leading);
    busy.context("no follower runs anything")
}

/// 24 of the catalogue.
fn leader_killed_placing(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        create(run, "large", 200).await?;
        sleep(run.chance.millis(0, 60)).await;
        let dead = leader_of(run)?;
        run.cluster.kill(dead, Kill::Power).await?;
        let rest = others(run, &[dead]);
        new_leader(run, &rest, dead, 5).await?;
        until_exact(run, 20).await?;
        run.cluster.boot(dead).await?;
        run.settle().await
    }
    .boxed()
}

/// 1 of the catalogue.
fn leader_in_the_minority(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        run.start_clients(6);
        sleep(run.chance.millis(500, 3000)).await;
        let old = leader_of(run)?;
        let with = *others(run, &[old]).first().context("five nodes")?;
        let majority = others(run, &[old, with]);
        run.cluster.partition(&[old, with], &majority)?;
        new_leader(run, &majority, old, 5).await?;
        let acknowledged = run.ledger.acknowledged();
        sleep(Duration::from_secs(10)).await;
        ensure!(run.ledger.acknowledged() > acknowledged + 5, "the majority took no writes");
        heal_and_settle(run).await
    }
    .boxed()
}

/// 2 of the catalogue.
fn leader_in_the_majority(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        run.start_clients(3);
        sleep(run.chance.millis(500, 3000)).await;
        let old = leader_of(run)?;
        let term = run.cluster.node(old)?.core().consensus.status_now().term;
        let minority: Vec<u32> = others(run, &[old]).into_iter().take(2).collect();
        let majority = others(run, &minority);
        run.cluster.partition(&minority, &majority)?;
        sleep(Duration::from_secs(10)).await;
        run.cluster.heal();
        until_settled(run, 30).await?;
        let now = run.cluster.node(old)?.core().consensus.status_now();
        ensure!(now.is_leader() && now.term == term, "the leader changed without need");
        run.settle().await
    }
    .boxed()
}

/// 19 and 30 of the catalogue.
fn power_cut_of_all(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        run.start_clients(3);
        create(run, "web", 10).await?;
        sleep(run.chance.millis(0, 3000)).await;
        power_cut(run).await?;
        sleep(run.chance.millis(100, 5000)).await;
        let mut numbers = run.cluster.numbers();
        run.chance.shuffle(&mut numbers);
        for number in numbers {
            run.cluster.boot(number).await?;
            sleep(run.chance.millis(0, 2000)).await;
        }
        until_settled(run, 15).await?;
        run.settle().await
    }
    .boxed()
}

/// 25 and 30 of the catalogue: every machine loses power in the very moment a write was answered.
fn power_cuts_after_answers(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        run.start_clients(5);
        for _ in 0..8 {
            sleep(run.chance.millis(200, 800)).await;
            let acknowledged = run.ledger.acknowledged();
            while run.ledger.acknowledged() == acknowledged {
                run.cluster.world.check()?;
                sleep(Duration::from_millis(1)).await;
            }
            power_cut(run).await?;
            for number in run.cluster.numbers() {
                run.cluster.boot(number).await?;
            }
            until_settled(run, 15).await?;
        }
        run.settle().await
    }
    .boxed()
}

/// 26 of the catalogue: adopted, not doubled, not restarted.
fn daemon_restart_adopts(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        create(run, "web", 6).await?;
        until_exact(run, 10).await?;
        let before = running(run);
        let number = match run.chance.percent(50) {
            true => leader_of(run)?,
            false => busy_follower(run)?,
        };
        run.cluster.kill(number, Kill::Process).await?;
        sleep(run.chance.millis(0, 900)).await;
        run.cluster.boot(number).await?;
        until_settled(run, 30).await?;
        sleep(Duration::from_secs(5)).await;
        ensure!(running(run) == before, "a daemon's restart changed what runs");
        let starts = run.cluster.runtime(number)?.events().into_iter();
        let starts = starts.filter(|event| event.what == MockEventKind::Started).count();
        let held = before.iter().filter(|(machine, _)| *machine == number).count();
        ensure!(starts == held, "{starts} starts of {held} tasks");
        run.settle().await
    }
    .boxed()
}

/// A worker that is cut off, or whose daemon dies, loses its tasks to others; back, it ends them.
fn worker_lost_and_back(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        create(run, "web", 10).await?;
        until_exact(run, 10).await?;
        let worker = *run.cluster.numbers().last().context("a worker")?;
        let old: BTreeSet<_> =
            running(run).into_iter().filter(|(number, _)| *number == worker).collect();
        ensure!(!old.is_empty(), "the worker runs nothing");
        let cut_off = run.chance.percent(50);
        let rest = others(run, &[worker]);
        if cut_off {
            run.cluster.partition(&[worker], &rest)?;
        } else {
            run.cluster.kill(worker, Kill::Process).await?;
        }
        let limit = Duration::from_secs(6);
        wait_until(&run.cluster, "replacements elsewhere", limit, || {
            let now = running(run).into_iter().filter(|(number, _)| *number != worker).count();
            if now == 10 { Ok(()) } else { Err(format!("{now} run elsewhere")) }
        })
        .await?;
        sleep(run.chance.millis(0, 20_000)).await;
        if cut_off {
            run.cluster.heal();
        } else {
            run.cluster.boot(worker).await?;
        }
        until_settled(run, 30).await?;
        wait_until(&run.cluster, "the old tasks to end", Duration::from_secs(15), || {
            let left = running(run).intersection(&old).count();
            if left == 0 { Ok(()) } else { Err(format!("{left} still run")) }
        })
        .await?;
        run.settle().await
    }
    .boxed()
}

fn leaders_change_during_update(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        let id = create(run, "web", 12).await?;
        until_exact(run, 10).await?;
        let spec = Box::new(service_spec("web", 12, 1, 1));
        agree(run, Op::UpdateService { id, version: None, spec, steered: true }).await?;
        for _ in 0..4 {
            sleep(run.chance.millis(100, 900)).await;
            let Some(old) = leader(&run.cluster) else { continue };
            if run.chance.percent(50) {
                let node = run.cluster.node(old)?;
                // Who leads then is seen at the end.
                drop(node.core().consensus.transfer_leadership(None).await);
            } else {
                run.cluster.kill(old, Kill::Process).await?;
                sleep(run.chance.millis(200, 1500)).await;
                run.cluster.boot(old).await?;
            }
        }
        until_exact(run, 60).await?;
        run.settle().await
    }
    .boxed()
}

/// Nothing is acknowledged and nothing that runs is touched while there is no majority.
fn quorum_lost(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        create(run, "web", 10).await?;
        until_exact(run, 10).await?;
        let before = running(run);
        run.start_clients(2);
        for number in [1, 2] {
            run.cluster.kill(number, Kill::Process).await?;
        }
        sleep(Duration::from_millis(100)).await;
        let acknowledged = run.ledger.acknowledged();
        sleep(run.chance.millis(5000, 20_000)).await;
        ensure!(run.ledger.acknowledged() == acknowledged, "acknowledged without a majority");
        ensure!(before.is_subset(&running(run)), "tasks were touched without a majority");
        for number in [1, 2] {
            run.cluster.boot(number).await?;
        }
        until_settled(run, 30).await?;
        run.settle().await
    }
    .boxed()
}

/// 27 of the catalogue.
fn removed_while_down(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        let id = create(run, "web", 10).await?;
        until_exact(run, 10).await?;
        let worker = *run.cluster.numbers().last().context("a worker")?;
        let how = if run.chance.percent(50) { Kill::Power } else { Kill::Process };
        run.cluster.kill(worker, how).await?;
        sleep(run.chance.millis(0, 5000)).await;
        agree(run, Op::RemoveService { id }).await?;
        sleep(run.chance.millis(0, 20_000)).await;
        run.cluster.boot(worker).await?;
        until_settled(run, 30).await?;
        run.settle().await?;
        ensure!(running(run).is_empty(), "tasks of a removed service run");
        Ok(())
    }
    .boxed()
}

/// 49 of the catalogue, in part: the log was cut, so who was away needs a snapshot.
fn behind_a_snapshot(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        let away = *others(run, &[leader_of(run)?]).first().context("three nodes")?;
        run.cluster.kill(away, Kill::Power).await?;
        let stood_at = run.cluster.node(leader_of(run)?)?.view().revision;
        run.start_clients(5);
        let limit = Duration::from_secs(120);
        wait_until(&run.cluster, "a cut log", limit, || {
            let leader = leader(&run.cluster).ok_or("nobody leads")?;
            let node = run.cluster.node(leader).map_err(|error| error.to_string())?;
            let snapshot = node.core().consensus.status_now().snapshot.unwrap_or_default();
            if snapshot.0 > stood_at.0 + 250 {
                Ok(())
            } else {
                Err(format!("the newest snapshot stands at {snapshot}"))
            }
        })
        .await?;
        run.cluster.boot(away).await?;
        sleep(run.chance.millis(0, 300)).await;
        if run.chance.percent(50) {
            // 48: killed while it installs.
            run.cluster.kill(away, Kill::Power).await?;
            run.cluster.boot(away).await?;
        }
        until_settled(run, 30).await?;
        run.settle().await
    }
    .boxed()
}

/// 41 of the catalogue, in part.
fn join_while_leaders_die(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        run.start_clients(2);
        for role in [Role::Manager, Role::Worker, Role::Manager] {
            let number = run.cluster.join(role).await?;
            sleep(run.chance.millis(0, 500)).await;
            // The first node is who the next one asks.
            let dead = leader(&run.cluster).filter(|leader| *leader != 1).unwrap_or(number);
            run.cluster.kill(dead, Kill::Power).await?;
            sleep(run.chance.millis(500, 4000)).await;
            run.cluster.boot(dead).await?;
            until_settled(run, 30).await?;
        }
        let all_vote = || {
            let leader = leader(&run.cluster).ok_or("nobody leads")?;
            let leading = run.cluster.node(leader).map_err(|error| error.to_string())?;
            let voters = leading.core().consensus.status_now().voters.len();
            if voters == 5 { Ok(()) } else { Err(format!("{voters} of five managers vote")) }
        };
        // A vote is given to who has caught up; the last one is back for a moment only.
        wait_until(&run.cluster, "five voters", Duration::from_secs(30), all_vote).await?;
        run.settle().await
    }
    .boxed()
}

/// 4 of the catalogue.
fn one_way_links(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        run.start_clients(3);
        let leading = leader_of(run)?;
        let before = run.cluster.node(leading)?.core().consensus.status_now().term.0;
        let deaf = *others(run, &[leading]).first().context("five nodes")?;
        if run.chance.percent(50) {
            run.cluster.cut(leading, deaf)?;
        } else {
            run.cluster.cut(deaf, leading)?;
        }
        sleep(Duration::from_secs(20)).await;
        run.cluster.heal();
        until_settled(run, 30).await?;
        let view = run.cluster.node(leader_of(run)?)?.view();
        let down = view.nodes.values().find(|n| n.status.reachability != Reachability::Ready);
        ensure!(down.is_none(), "a node that answers counts as down");
        let after = run.cluster.node(leader_of(run)?)?.core().consensus.status_now().term.0;
        ensure!(after <= before + 2, "terms went from {before} to {after}");
        run.settle().await
    }
    .boxed()
}
