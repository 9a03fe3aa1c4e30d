//! One cluster hurt for hours by faults drawn from a seed, checked every few minutes.
//!
//! One fault at a time, each healed before the next: what two at once do is the simulation's part.

use std::time::Duration;

use anyhow::{Context as _, Result};
use swarm_node::api::types::Written;
use tokio::time::sleep;

use super::needs::{self, Need};
use super::stage::{PATIENCE, STEADY, STEADY_REPLICAS};
use super::{Ask, Sheet, Stage, percentile};
use crate::real::{Cluster, Disk, Partition, Stopwatch, all_links, spec};
use crate::sim::chance::Chance;

const MANAGERS: usize = 5;
const WORKERS: usize = 2;
const NODES: usize = MANAGERS + WORKERS;
/// Between two checks of everything.
const PART: Duration = Duration::from_secs(150);
const DISK_MIB: u64 = 256;
/// Below so many operations a second a part shows nothing: it is dark half of the time.
const FLOOR: f64 = 10.0;

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    LeaderKilled,
    MinorityKilled,
    AllKilled,
    Stopped,
    MachineLost,
    PowerCut,
    Partition,
    OneWay,
    Loss,
}

/// Faults that any machine can make; the others need root and tools.
const PLAIN: [Fault; 5] = [
    Fault::LeaderKilled,
    Fault::MinorityKilled,
    Fault::AllKilled,
    Fault::Stopped,
    Fault::MachineLost,
];
const OF_NETWORK: [Fault; 3] = [Fault::Partition, Fault::OneWay, Fault::Loss];

/// Hurts a cluster for so long.
///
/// # Errors
/// What does not hold, or why the run shows nothing.
pub async fn soak(ask: Ask, time: Duration) -> Result<Sheet> {
    let mut chance = Chance::new(ask.seed, "soak");
    let mut faults = PLAIN.to_vec();
    needs::check_soak(&ask, time)?;
    let has_power = needs::check(Need::PowerCuts(DISK_MIB * NODES as u64)).is_ok();
    if has_power {
        faults.push(Fault::PowerCut);
    }
    if needs::check(Need::Nft).is_ok() {
        faults.extend(OF_NETWORK);
    }
    let disk = |at: &std::path::Path| match has_power {
        true => Disk::ext4(at, DISK_MIB).map(Some),
        false => Ok(None),
    };
    let init = ["--snapshot-interval", "1000"];
    let mut cluster = Cluster::start_on(MANAGERS, WORKERS, &init, disk).await?;
    let steady = spec::service(STEADY, STEADY_REPLICAS, &spec::STAYS)?;
    cluster.client(0).post::<Written>("/v1/services/create", &steady).await?;
    cluster.converged(0, STEADY, PATIENCE).await?;
    let mut sheet = Sheet::default();
    sheet.say(format!("faults of this machine: {faults:?}"));
    let (clock, mut outages) = (Stopwatch::start(), Vec::new());
    let mut parts = 0_u64;
    while clock.elapsed() < time {
        let mut stage = Stage::bare(&ask, cluster, &format!("s{parts}"))?;
        stage.floor = FLOOR;
        let part = Stopwatch::start();
        while part.elapsed() < PART && clock.elapsed() < time {
            let fault = *chance.pick(&faults).context("no faults")?;
            let outage = hurt(&mut stage, fault, &mut chance).await?;
            stage.sheet.say(format!("{fault:?}: a write after {} ms", outage.as_millis()));
            outages.push(outage);
            stage.heals().await.with_context(|| format!("after {fault:?}"))?;
            sleep(chance.millis(200, 3_000)).await;
        }
        let (more, kept) = stage.finish_keeping().await.with_context(|| format!("part {parts}"))?;
        cluster = kept;
        parts += 1;
        sheet.merge(more);
    }
    sheet.fact("parts checked", parts.to_string());
    for percent in [50, 95, 100] {
        let outage = percentile(&outages, percent).as_millis();
        sheet.fact(&format!("write outage of all faults, p{percent}"), format!("{outage} ms"));
    }
    Ok(sheet)
}

/// Makes the fault, measures the outage of writes from its beginning, and ends it.
async fn hurt(stage: &mut Stage, fault: Fault, chance: &mut Chance) -> Result<Duration> {
    let leader = stage.cluster.leader().await?;
    let mut numbers: Vec<_> = (0..MANAGERS).collect();
    chance.shuffle(&mut numbers);
    let drawn = chance.between(0, 6) as usize;
    let dark = chance.millis(0, 5_000);
    match fault {
        Fault::LeaderKilled => killed(stage, &[leader], dark).await,
        Fault::MinorityKilled => killed(stage, &numbers[..2], dark).await,
        Fault::AllKilled => killed(stage, &(0..NODES).collect::<Vec<_>>(), dark).await,
        Fault::Stopped => {
            let number = if chance.percent(50) { leader } else { drawn };
            stage.cluster.node(number).freeze()?;
            let outage = stage.outage().await;
            sleep(dark).await;
            stage.cluster.node(number).thaw()?;
            stage.sheet.injected("daemon stopped and resumed", 1);
            outage
        }
        Fault::MachineLost => {
            stage.cluster.node(drawn).lose_machine()?;
            stage.sheet.injected("machine lost", 1);
            let outage = stage.outage().await?;
            sleep(dark).await;
            stage.restart(drawn).await?;
            Ok(outage)
        }
        Fault::PowerCut => {
            let hit = if chance.percent(50) { leader } else { drawn };
            stage.cluster.cut_power(&[hit])?;
            stage.sheet.injected("power of a node cut", 1);
            let outage = stage.outage().await?;
            sleep(dark).await;
            stage.cluster.power_on(&[hit])?;
            stage.cluster.node(hit).serving().await?;
            Ok(outage)
        }
        Fault::Partition => {
            let (few, many) = stage.sides(&[numbers[0], numbers[1], MANAGERS]);
            cut(stage, "partition", Partition::between(&few, &many)?, dark).await
        }
        Fault::OneWay => {
            let (one, rest) = stage.sides(&[drawn]);
            let deaf = chance.percent(50);
            let links = rest.iter().map(|it| if deaf { (*it, one[0]) } else { (one[0], *it) });
            let links: Vec<_> = links.collect();
            cut(stage, "one-way link", Partition::of(links)?, dark).await
        }
        Fault::Loss => {
            let filter = format!("numgen random mod 100 < {}", chance.between(5, 30));
            let loss = Partition::matching(all_links(&stage.addrs()), &filter)?;
            cut(stage, "loss on all links", loss, dark).await
        }
    }
}

async fn killed(stage: &mut Stage, numbers: &[usize], dark: Duration) -> Result<Duration> {
    let most = numbers.len() > 2;
    for number in numbers {
        stage.kill(*number)?;
    }
    // With a majority dead there is nothing to wait for.
    let early = if most { None } else { Some(stage.outage().await?) };
    sleep(dark).await;
    for number in numbers {
        stage.cluster.node(*number).restart()?;
    }
    for number in numbers {
        stage.cluster.node(*number).serving().await?;
    }
    match early {
        Some(outage) => Ok(outage),
        None => stage.outage().await,
    }
}

async fn cut(stage: &mut Stage, what: &str, cut: Partition, dark: Duration) -> Result<Duration> {
    let outage = stage.outage().await?;
    stage.during(what, cut, dark + Duration::from_secs(1)).await?;
    Ok(outage)
}
