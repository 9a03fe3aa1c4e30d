//! What happens to tasks and changes when daemons die.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use swarm_model::config::Config;
use swarm_model::id::RequestId;
use swarm_model::restart::RestartCondition;
use swarm_model::task_state::ObservedState;
use swarm_node::api::types::{TaskEntry, Written};
use tokio::time::sleep;

use super::stage::{PATIENCE, STEADY};
use super::verdict::invalid;
use super::{Ask, Run, Scenario, Sheet, Stage};
use crate::invariants::{Program, programs, removed_services_are_gone};
use crate::real::{Partition, Stopwatch, all_links, encode, spec, wait_until};
use crate::register::number;
use crate::sim::chance::Chance;

const MANAGERS: usize = 5;
const WORKERS: usize = 2;
/// How many tasks are placed while the leader dies.
const PLACED: u32 = 200;
/// The first of the workers.
const WORKER: usize = MANAGERS;

pub(super) const ALL: [Scenario; 6] = [
    Scenario {
        number: 13,
        name: "udp-blocked",
        injects: "all packets between all nodes dropped, 60 s",
        figure: "no task is touched",
        needs: &[super::Need::Nft],
        run: Run::Real(|ask| Box::pin(udp_blocked(ask))),
    },
    Scenario {
        number: 24,
        name: "killed-placing",
        injects: "the leader killed while 200 tasks are placed",
        figure: "200 of 200 run ≤ 60 s",
        needs: &[],
        run: Run::Real(|ask| Box::pin(killed_placing(ask))),
    },
    Scenario {
        number: 25,
        name: "killed-replying",
        injects: "the leader killed between commit and reply, the request repeated, ×20",
        figure: "applied once each",
        needs: &[],
        run: Run::Real(|ask| Box::pin(killed_replying(ask))),
    },
    Scenario {
        number: 26,
        name: "adopted",
        injects: "daemons with running tasks killed and started again, ×10",
        figure: "the same programs run on, none twice",
        needs: &[],
        run: Run::Real(|ask| Box::pin(adopted(ask))),
    },
    Scenario {
        number: 27,
        name: "removed-while-down",
        injects: "a service removed while its worker is down",
        figure: "its programs gone ≤ 30 s after the worker is back",
        needs: &[],
        run: Run::Real(|ask| Box::pin(removed_while_down(ask))),
    },
    Scenario {
        number: 28,
        name: "job-leaders",
        injects: "ten leader changes during a job of 20 runs",
        figure: "exactly 20 runs, 20 successes",
        needs: &[],
        run: Run::Real(|ask| Box::pin(job_leaders(ask))),
    },
];

/// The programs, each with its task.
pub(super) fn pids(programs: &[Program]) -> BTreeSet<(i32, String)> {
    programs.iter().map(|it| (it.pid, it.task.clone())).collect()
}

async fn udp_blocked(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    // Without a quorum nothing is answered for most of the run.
    stage.floor = 3.0;
    let before = pids(&programs(&stage.cluster, STEADY)?);
    let cut = Partition::of(all_links(&stage.addrs()))?;
    stage.during("all UDP blocked", cut, ask.seconds(60, 20)).await?;
    let within = pids(&programs(&stage.cluster, STEADY)?);
    ensure!(before == within, "tasks were touched: {before:?}, then {within:?}");
    let healed = stage.heals().await?;
    stage.sheet.at_most("whole again", healed, Duration::from_secs(30));
    let after = pids(&programs(&stage.cluster, STEADY)?);
    let touched = before.difference(&after).count();
    stage.sheet.no_more("tasks touched", u64::try_from(touched)?, 0);
    stage.finish().await
}

async fn killed_placing(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    let mut chance = Chance::new(ask.seed, "killed-placing");
    // What the machine is busy with is not the daemons' idleness.
    stage.floor = 10.0;
    let mut amid = 0;
    for round in 0..ask.rounds(5, 1) {
        let name = format!("many-{round}");
        let many = spec::service(&name, PLACED, &spec::STAYS)?;
        let leader = stage.cluster.leader().await?;
        let other = (leader + 1) % MANAGERS;
        stage.cluster.client(other).post::<Written>("/v1/services/create", &many).await?;
        let enough = chance.between(1, 100) as usize;
        let placed = wait_until("some of its tasks run", PATIENCE, async || {
            let placed = programs(&stage.cluster, &name).ok()?.len();
            (placed >= enough).then_some(placed)
        })
        .await?;
        stage.kill(leader)?;
        amid += usize::from(placed < PLACED as usize);
        let watch = Stopwatch::start();
        stage.restart(leader).await?;
        stage.cluster.converged(other, &name, 2 * PATIENCE).await.context("R")?;
        stage.sheet.say(format!("round {round}: {placed} ran when the leader was killed"));
        stage.sheet.at_most("200 tasks run after the kill", watch.elapsed(), PATIENCE);
        stage.cluster.client(other).delete(&format!("/v1/services/{name}")).await?;
        removed_services_are_gone(&stage.cluster, &name).await.context("Z")?;
    }
    if amid == 0 {
        return Err(invalid("all tasks were placed before each kill"));
    }
    stage.finish().await
}

/// By how much the kill moves from round to round.
const STEP: Duration = Duration::from_micros(700);

/// A writes under a key while the leader dies, B overwrites, A repeats: B's value must stay if A's
/// was ever there.
async fn killed_replying(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    let mut chance = Chance::new(ask.seed, "killed-replying");
    let (mut open, mut applied, mut between, mut wrong) = (0, 0, 0, 0);
    let rounds = ask.rounds(20, 3);
    // Later after each kill that came too early, and the other way round: so the moment is found.
    let mut pause = Duration::from_millis(6);
    // A few more when none of them came between commit and reply.
    for round in 0..4 * rounds {
        if round >= rounds && between > 0 {
            break;
        }
        let name = format!("once-{round}");
        let leader = stage.cluster.leader().await?;
        let (a, b) = ((leader + 1) % MANAGERS, (leader + 2) % MANAGERS);
        let mut other = stage.cluster.client(b);
        other.post::<Written>("/v1/configs/create", &spec::config(&name, b"0")?).await?;
        let update = format!("/v1/configs/{name}/update");
        let key = RequestId::from_raw(chance.wide()).to_string();
        let mut client = stage.cluster.client(leader).with_key(&key);
        let write = spec::config(&name, b"1")?;
        let drawn = chance.millis(0, 400) / 1000;
        let cluster = &mut stage.cluster;
        let (first, killed) = tokio::join!(client.post::<Written>(&update, &write), async {
            let watch = Stopwatch::start();
            // A timer is too coarse.
            while watch.elapsed() < pause + drawn {
                tokio::task::yield_now().await;
            }
            cluster.node(leader).kill()
        });
        killed?;
        stage.sheet.injected("leader killed with a change under way", 1);
        open += usize::from(first.is_err());
        stage.outage().await?;
        let seen = number(&other.get::<Config>(&format!("/v1/configs/{name}")).await?)?;
        applied += usize::from(seen == 1);
        between += usize::from(seen == 1 && first.is_err());
        pause = match (&first, seen) {
            (Ok(_written), _) => pause.saturating_sub(STEP),
            (Err(_open), 1) => pause,
            (Err(_open), _) => pause + STEP,
        };
        other.post::<Written>(&update, &spec::config(&name, b"2")?).await?;
        let mut again = stage.cluster.client(a).with_key(&key);
        let second = wait_until("the repeated request is answered", PATIENCE, async || {
            again.post::<Written>(&update, &write).await.ok()
        })
        .await?;
        let last = number(&other.get::<Config>(&format!("/v1/configs/{name}")).await?)?;
        // Applied before: B's stays. Not applied: A's repetition is the change and comes last.
        let wanted = if seen == 1 { 2 } else { 1 };
        let told = first.as_ref().map(|it| it.revision == second.revision).unwrap_or(true);
        wrong += u64::from(last != wanted || !told);
        stage.sheet.say(format!(
            "round {round}: first {}, applied {seen}, ends as {last}; next after {pause:?}",
            if first.is_ok() { "answered" } else { "open" }
        ));
        stage.restart(leader).await?;
        stage.heals().await?;
    }
    stage.sheet.fact("requests without an answer", open.to_string());
    stage.sheet.fact("of all, applied before the kill", applied.to_string());
    stage.sheet.fact("of those, without an answer", between.to_string());
    stage.sheet.no_more("requests not applied exactly once", wrong, 0);
    if between == 0 {
        return Err(invalid("the leader never died between commit and reply"));
    }
    stage.finish().await
}

async fn adopted(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    let mut chance = Chance::new(ask.seed, "adopted");
    let mut hit = 0;
    for _ in 0..ask.rounds(10, 3) {
        let before = programs(&stage.cluster, STEADY)?;
        let nodes: Vec<_> = before.iter().map(|it| it.node).collect();
        let number = chance.pick(&nodes).copied().context("no task runs")?;
        hit += before.iter().filter(|it| it.node == number).count();
        stage.kill(number)?;
        sleep(chance.millis(0, 1_000)).await;
        stage.restart(number).await?;
        stage.heals().await?;
        let after = pids(&programs(&stage.cluster, STEADY)?);
        ensure!(pids(&before) == after, "I: not the same programs: {before:?}, then {after:?}");
    }
    stage.sheet.fact("programs that outlived their daemon", hit.to_string());
    stage.finish().await
}

async fn removed_while_down(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    for round in 0..ask.rounds(5, 2) {
        let name = format!("gone-{round}");
        let gone = spec::service(&name, 14, &spec::STAYS)?;
        stage.cluster.client(0).post::<Written>("/v1/services/create", &gone).await?;
        stage.cluster.converged(0, &name, PATIENCE).await?;
        let there = programs(&stage.cluster, &name)?.iter().filter(|it| it.node == WORKER).count();
        if there == 0 {
            return Err(invalid("the worker has no task of the service"));
        }
        stage.kill(WORKER)?;
        stage.cluster.client(0).delete(&format!("/v1/services/{name}")).await?;
        wait_until("all others have removed their tasks of it", PATIENCE, async || {
            let left = programs(&stage.cluster, &name).ok()?;
            left.iter().all(|it| it.node == WORKER).then_some(())
        })
        .await?;
        let watch = Stopwatch::start();
        stage.restart(WORKER).await?;
        removed_services_are_gone(&stage.cluster, &name).await.context("Z")?;
        let what = format!("{there} programs gone after the worker is back");
        stage.sheet.at_most(&what, watch.elapsed(), Duration::from_secs(30));
        stage.heals().await?;
    }
    stage.finish().await
}

async fn job_leaders(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    let tally = stage.cluster.scratch().join("tally");
    let script = format!("sleep 4; echo $SWARM_TASK_SLOT >> {}", tally.display());
    let mut job = spec::service("job", 20, &["/bin/sh", "-c", &script])?;
    job.task_template.restart_policy.condition = RestartCondition::None;
    stage.cluster.client(0).post::<Written>("/v1/services/create", &job).await?;
    for _ in 0..ask.rounds(10, 3) {
        let leader = stage.cluster.leader().await?;
        stage.kill(leader)?;
        stage.outage().await?;
        stage.restart(leader).await?;
        stage.heals().await?;
    }
    let filters = encode(r#"{"service":["job"]}"#);
    let mut client = stage.cluster.client(0);
    let tasks = wait_until("the job is done", 2 * PATIENCE, async || {
        let target = format!("/v1/tasks?filters={filters}");
        let tasks: Vec<TaskEntry> = client.get(&target).await.ok()?;
        tasks.iter().all(|it| it.task.status.state >= ObservedState::Complete).then_some(tasks)
    })
    .await?;
    let done = tasks.iter().filter(|it| it.task.status.state == ObservedState::Complete).count();
    let runs = fs::read_to_string(&tally)?.lines().count();
    let slots: BTreeSet<_> = fs::read_to_string(&tally)?.lines().map(str::to_owned).collect();
    let exact = (done, runs, slots.len()) == (20, 20, 20);
    let value = format!("{done} successes, {runs} runs of {} slots", slots.len());
    stage.sheet.figure("the job", value, "20, 20, 20".to_owned(), exact);
    client.delete("/v1/services/job").await?;
    stage.finish().await
}
