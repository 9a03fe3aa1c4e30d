//! Power cuts: every process of a node gone at once, and of its disk all that was not synced. A
//! missing sync is found here and by no kill.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::sleep;

use super::verdict::invalid;
use super::{Ask, Need, Run, Scenario, Sheet, Stage, percentile};
use crate::real::{Cluster, Disk};
use crate::sim::chance::Chance;

/// Of each node's disk.
const DISK_MIB: u64 = 192;
const NEEDS: &[Need] = &[Need::PowerCuts(5 * DISK_MIB)];
/// A file that nobody syncs: it must be gone, else the power was not cut.
const UNSYNCED: &str = "never-synced";

pub(super) const ALL: [Scenario; 3] = [
    Scenario {
        number: 29,
        name: "power-one",
        injects: "the power of one drawn manager cut, ×50; 5 managers, ext4 on loop disks",
        figure: "nothing acknowledged lost, no term goes back",
        needs: NEEDS,
        run: Run::Real(|ask| Box::pin(power_one(ask))),
    },
    Scenario {
        number: 30,
        name: "power-all",
        injects: "the power of all nodes cut at once, ×25; 3 managers, ext4 on loop disks",
        figure: "nothing acknowledged lost",
        needs: NEEDS,
        run: Run::Real(|ask| Box::pin(power_all(ask, 3, 25))),
    },
    Scenario {
        number: 31,
        name: "power-single",
        injects: "the power of a single-node cluster cut, ×50; ext4 on a loop disk",
        figure: "nothing acknowledged lost",
        needs: NEEDS,
        run: Run::Real(|ask| Box::pin(power_all(ask, 1, 50))),
    },
];

async fn cluster(managers: usize) -> Result<Cluster> {
    // Snapshots often, so that cuts hit them, too.
    let init = ["--snapshot-interval", "500"];
    Cluster::start_on(managers, 0, &init, |at| Disk::ext4(at, DISK_MIB).map(Some)).await
}

/// Cuts the power of these nodes under load and gives it back after a while. Says how many of their
/// unsynced files were lost: a cut that loses none was none.
async fn cut(stage: &mut Stage, hit: &[usize], dark: Duration) -> Result<usize> {
    let file = |stage: &Stage, number: usize| stage.cluster.nodes()[number].dir.join(UNSYNCED);
    for number in hit {
        fs::write(file(stage, *number), "not synced")?;
    }
    stage.cluster.cut_power(hit)?;
    stage.sheet.injected("power of a node cut", u64::try_from(hit.len())?);
    sleep(dark).await;
    stage.cluster.power_on(hit)?;
    let mut lost = 0;
    for number in hit {
        lost += usize::from(fs::read(file(stage, *number)).unwrap_or_default().is_empty());
        stage.cluster.node(*number).serving().await.context("after a power cut")?;
    }
    Ok(lost)
}

/// Whether the cuts lost what nobody had synced, as power cuts do.
fn were_cuts(lost: usize, cuts: usize) -> Result<()> {
    if lost * 2 < cuts {
        return Err(invalid(format!("only {lost} of {cuts} cuts lost a file that nobody synced")));
    }
    Ok(())
}

async fn power_one(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::with(&ask, cluster(5).await?).await?;
    let mut chance = Chance::new(ask.seed, "power-one");
    let (rounds, mut lost, mut outages) = (ask.rounds(50, 3), 0, Vec::new());
    for round in 0..rounds {
        sleep(chance.millis(100, 1_500)).await;
        // The leader every other time: it syncs before it answers, the others before they agree.
        let leader = stage.cluster.leader().await?;
        let drawn = chance.between(0, 4) as usize;
        let hit = if round % 2 == 0 { leader } else { drawn };
        lost += cut(&mut stage, &[hit], chance.millis(0, 1_000)).await?;
        let outage = stage.outage().await?;
        stage
            .sheet
            .say(format!("round {round}: node {hit}, a write after {} ms", outage.as_millis()));
        outages.push(outage);
        stage.heals().await?;
    }
    were_cuts(lost, rounds)?;
    stage.sheet.fact("unsynced files lost", format!("{lost} of {rounds}"));
    stage.finish().await
}

async fn power_all(ask: Ask, managers: usize, full: usize) -> Result<Sheet> {
    let mut stage = Stage::with(&ask, cluster(managers).await?).await?;
    // Between the cuts it is dark more often than not.
    stage.floor = 10.0;
    let mut chance = Chance::new(ask.seed, "power-all");
    let all: Vec<_> = (0..managers).collect();
    let (rounds, mut lost, mut outages) = (ask.rounds(full, 3), 0, Vec::new());
    for round in 0..rounds {
        sleep(chance.millis(300, 2_000)).await;
        lost += cut(&mut stage, &all, Duration::ZERO).await?;
        let outage = stage.outage().await?;
        stage
            .sheet
            .say(format!("round {round}: a write {} ms after all serve", outage.as_millis()));
        outages.push(outage);
    }
    were_cuts(lost, rounds * managers)?;
    stage.sheet.fact("unsynced files lost", format!("{lost} of {}", rounds * managers));
    let worst = percentile(&outages, 100);
    stage.sheet.at_most("write after power is back, worst", worst, Duration::from_secs(15));
    stage.finish().await
}
