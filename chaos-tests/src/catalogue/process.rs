//! Faults of the daemons: killed, stopped, starved of CPU.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::sleep;

use super::verdict::invalid;
use super::{Ask, Need, Run, Scenario, Sheet, Stage, percentile};
use crate::real::{CpuLimit, Stopwatch};
use crate::sim::chance::Chance;

const MANAGERS: usize = 5;
const WORKERS: usize = 2;

pub(super) const ALL: [Scenario; 7] = [
    Scenario {
        number: 16,
        name: "starved",
        injects: "a follower and a worker at 5 % of a CPU each, 60 s",
        figure: "nobody else called down",
        needs: &[Need::CpuGroups],
        run: Run::Real(|ask| Box::pin(starved(ask))),
    },
    Scenario {
        number: 17,
        name: "leader-killed",
        injects: "the leader's daemon killed, ×60",
        figure: "write outage ≤ 2 s p95",
        needs: &[],
        run: Run::Real(|ask| Box::pin(leader_killed(ask))),
    },
    Scenario {
        number: 18,
        name: "minority-killed",
        injects: "two drawn managers killed over and over, 10 min",
        figure: "≥ 99 % of the seconds with an acknowledged write",
        needs: &[],
        run: Run::Real(|ask| Box::pin(minority_killed(ask))),
    },
    Scenario {
        number: 19,
        name: "all-killed",
        injects: "all daemons killed at once, started again one by one, ×5",
        figure: "a write ≤ 15 s after the last start",
        needs: &[],
        run: Run::Real(|ask| Box::pin(all_killed(ask))),
    },
    Scenario {
        number: 20,
        name: "leader-paused",
        injects: "the leader stopped (SIGSTOP) for 10 s, then resumed, ×5",
        figure: "linearizable; write outage ≤ 5 s",
        needs: &[],
        run: Run::Real(|ask| Box::pin(leader_paused(ask))),
    },
    Scenario {
        number: 21,
        name: "follower-paused",
        injects: "a follower stopped (SIGSTOP) for 10 s, then resumed, ×5",
        figure: "≥ 95 % of the seconds with an acknowledged write, no leader change",
        needs: &[],
        run: Run::Real(|ask| Box::pin(follower_paused(ask))),
    },
    Scenario {
        number: 22,
        name: "restart-storm",
        injects: "one manager killed as soon as it serves, ×30",
        figure: "its disk < 2 × that of the others",
        needs: &[],
        run: Run::Real(|ask| Box::pin(restart_storm(ask))),
    },
];

/// A drawn manager that does not lead.
async fn follower(stage: &Stage, chance: &mut Chance) -> Result<usize> {
    let leader = stage.cluster.leader().await?;
    let others: Vec<_> = (0..MANAGERS).filter(|number| *number != leader).collect();
    Ok(chance.pick(&others).copied().unwrap_or_default())
}

async fn starved(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    let mut chance = Chance::new(ask.seed, "starved");
    let slow = [follower(&stage, &mut chance).await?, MANAGERS];
    let mut limits = Vec::new();
    let mut ids = Vec::new();
    for number in slow {
        ids.push(stage.id(number).await?);
        limits.push(CpuLimit::of(
            &stage.cluster.nodes()[number].pid().into_iter().collect::<Vec<_>>(),
            5,
        )?);
    }
    stage.watch.forget_downs();
    let from = stage.load.journal().now_us();
    sleep(ask.seconds(60, 20)).await;
    stage.slots(from, 95.0);
    for limit in limits {
        let throttled = limit.throttled()?;
        if throttled == 0 {
            return Err(invalid("the CPU limit never held the daemon back"));
        }
        stage.sheet.injected("daemon starved of CPU", 1);
        stage.sheet.injected("time held back", throttled);
    }
    let downs = stage.watch.downs();
    let others = downs.keys().filter(|id| !ids.contains(*id)).count();
    stage.sheet.fact("starved nodes called down", (downs.len() - others).to_string());
    stage.sheet.no_more("others called down", u64::try_from(others)?, 0);
    stage.heals().await?;
    stage.finish().await
}

async fn leader_killed(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    let mut outages = Vec::new();
    for round in 0..ask.rounds(60, 3) {
        let leader = stage.cluster.leader().await?;
        stage.kill(leader)?;
        let outage = stage.outage().await?;
        stage.sheet.say(format!("round {round}: a write after {} ms", outage.as_millis()));
        outages.push(outage);
        stage.restart(leader).await?;
        stage.heals().await?;
    }
    let show = |percent| format!("{} ms", percentile(&outages, percent).as_millis());
    stage.sheet.fact("write outage, median", show(50));
    stage.sheet.fact("write outage, worst", show(100));
    stage.sheet.at_most("write outage, p95", percentile(&outages, 95), Duration::from_secs(2));
    stage.finish().await
}

async fn minority_killed(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    let mut chance = Chance::new(ask.seed, "minority-killed");
    let (from, time) = (stage.load.journal().now_us(), ask.seconds(600, 30));
    let watch = Stopwatch::start();
    while watch.elapsed() < time {
        let mut all: Vec<_> = (0..MANAGERS).collect();
        chance.shuffle(&mut all);
        for number in &all[..2] {
            stage.kill(*number)?;
        }
        sleep(chance.millis(500, 3_000)).await;
        for number in &all[..2] {
            stage.cluster.node(*number).restart()?;
        }
        for number in &all[..2] {
            stage.cluster.node(*number).serving().await?;
        }
        // Others may be next only when these count again: else no majority would be left.
        stage.heals().await?;
    }
    stage.slots(from, 99.0);
    stage.finish().await
}

async fn all_killed(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    stage.floor = 10.0;
    let mut chance = Chance::new(ask.seed, "all-killed");
    let mut outages = Vec::new();
    for round in 0..ask.rounds(5, 2) {
        let mut all: Vec<_> = (0..MANAGERS + WORKERS).collect();
        for number in &all {
            stage.kill(*number)?;
        }
        sleep(Duration::from_secs(2)).await;
        chance.shuffle(&mut all);
        for number in all {
            stage.cluster.node(number).restart()?;
            sleep(chance.millis(0, 1_500)).await;
        }
        let outage = stage.outage().await?;
        stage.sheet.say(format!("round {round}: a write after {} ms", outage.as_millis()));
        outages.push(outage);
        stage.heals().await?;
    }
    let worst = percentile(&outages, 100);
    stage.sheet.at_most("write after the last start, worst", worst, Duration::from_secs(15));
    stage.finish().await
}

async fn leader_paused(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    let mut outages = Vec::new();
    for round in 0..ask.rounds(5, 2) {
        let leader = stage.cluster.leader().await?;
        stage.cluster.node(leader).freeze()?;
        let outage = stage.outage().await?;
        stage.sheet.say(format!("round {round}: a write after {} ms", outage.as_millis()));
        outages.push(outage);
        sleep(Duration::from_secs(10).saturating_sub(outage)).await;
        stage.cluster.node(leader).thaw()?;
        stage.sheet.injected("leader stopped and resumed", 1);
        stage.heals().await?;
    }
    let worst = percentile(&outages, 100);
    stage.sheet.at_most("write outage, worst", worst, Duration::from_secs(5));
    stage.finish().await
}

async fn follower_paused(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    let mut chance = Chance::new(ask.seed, "follower-paused");
    let (from, began) = (stage.load.journal().now_us(), stage.watch.now());
    for _ in 0..ask.rounds(5, 2) {
        let number = follower(&stage, &mut chance).await?;
        stage.cluster.node(number).freeze()?;
        sleep(Duration::from_secs(10)).await;
        stage.cluster.node(number).thaw()?;
        stage.sheet.injected("follower stopped and resumed", 1);
        stage.heals().await?;
    }
    stage.slots(from, 95.0);
    let changes = stage.watch.leaders_since(began).len();
    stage.sheet.no_more("leader changes", u64::try_from(changes)?, 0);
    stage.finish().await
}

async fn restart_storm(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    let mut chance = Chance::new(ask.seed, "restart-storm");
    let number = follower(&stage, &mut chance).await?;
    for _ in 0..ask.rounds(30, 5) {
        stage.kill(number)?;
        stage.restart(number).await?;
    }
    stage.heals().await.context("the stormed node")?;
    let size = |number: usize| crate::real::disk_usage(&stage.cluster.nodes()[number].dir);
    let own = size(number)?;
    let mut others = Vec::new();
    for other in (0..MANAGERS).filter(|other| *other != number) {
        others.push(size(other)?);
    }
    let most = others.into_iter().max().unwrap_or_default();
    stage.sheet.no_more("its disk, KiB", own / 1024, 2 * most / 1024);
    stage.finish().await
}
