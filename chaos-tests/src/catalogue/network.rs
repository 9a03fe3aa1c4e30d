//! Faults of the network: cuts, one-way links, flapping, loss. Nothing between the nodes is touched
//! but the packets of their own addresses.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::verdict::invalid;
use super::{Ask, Need, Run, Scenario, Sheet, Stage, percentile};
use crate::history::{F, Kind};
use crate::real::{Partition, all_links};
use crate::sim::chance::Chance;

/// Managers and workers of these scenarios.
const MANAGERS: usize = 5;
const WORKERS: usize = 2;
/// How long a cut lasts.
const CUT: Duration = Duration::from_secs(8);
/// A new leader is there after this.
const NEW_LEADER: Duration = Duration::from_secs(5);

pub(super) const ALL: [Scenario; 10] = [
    Scenario {
        number: 1,
        name: "leader-in-minority",
        injects: "partition 2|3 of the managers with the leader in the minority, ×20",
        figure: "another leader ≤ 5 s each time",
        needs: &[Need::Nft],
        run: Run::Real(|ask| Box::pin(leader_in_minority(ask))),
    },
    Scenario {
        number: 2,
        name: "leader-in-majority",
        injects: "partition 2|3 of the managers with the leader in the majority, ×20",
        figure: "no leader change in 18 of 20",
        needs: &[Need::Nft],
        run: Run::Real(|ask| Box::pin(leader_in_majority(ask))),
    },
    Scenario {
        number: 3,
        name: "each-alone",
        injects: "each node cut off alone, one after the other",
        figure: "a write is acknowledged ≤ 5 s after each cut",
        needs: &[Need::Nft],
        run: Run::Real(|ask| Box::pin(each_alone(ask))),
    },
    Scenario {
        number: 4,
        name: "one-way",
        injects: "links that carry one way only: a follower deaf, a follower mute",
        figure: "terms +≤ 2 each",
        needs: &[Need::Nft],
        run: Run::Real(|ask| Box::pin(one_way(ask))),
    },
    Scenario {
        number: 5,
        name: "bridge",
        injects: "two followers that cannot see each other; everybody else sees all",
        figure: "≥ 90 % of the throughput before and after",
        needs: &[Need::Nft],
        run: Run::Real(|ask| Box::pin(bridge(ask))),
    },
    Scenario {
        number: 6,
        name: "ring",
        injects: "a ring of majorities: each manager sees its two neighbours only",
        figure: "writes acknowledged in ≥ 50 % of the seconds",
        needs: &[Need::Nft],
        run: Run::Real(|ask| Box::pin(ring(ask))),
    },
    Scenario {
        number: 7,
        name: "flapping",
        injects: "a follower's links down each other second, 5 min",
        figure: "≤ 1 leader change a minute",
        needs: &[Need::Nft],
        run: Run::Real(|ask| Box::pin(flapping(ask))),
    },
    Scenario {
        number: 8,
        name: "loss",
        injects: "5, 20 and 40 % of all packets lost, 60 s each",
        figure: "99, 95, 50 % of the writes succeed; nobody called down up to 20 %",
        needs: &[Need::Nft],
        run: Run::Real(|ask| Box::pin(loss(ask))),
    },
    Scenario {
        number: 11,
        name: "corruption",
        injects: "wrong bits in 1 % of all packets, 60 s",
        figure: "99 % of the writes succeed; nobody called down",
        needs: &[Need::Nft],
        run: Run::Real(|ask| Box::pin(corruption(ask))),
    },
    Scenario {
        number: 12,
        name: "mtu-hole",
        injects: "packets over 1200 bytes vanish on all links, 60 s",
        figure: "a write is acknowledged ≤ 10 s after it opens",
        needs: &[Need::Nft, Need::OwnNetwork],
        run: Run::Real(|ask| Box::pin(mtu_hole(ask))),
    },
];

/// The leader and, drawn, the other managers.
async fn managers(stage: &Stage, chance: &mut Chance) -> Result<(usize, Vec<usize>)> {
    let leader = stage.cluster.leader().await?;
    let mut others: Vec<_> = (0..MANAGERS).filter(|number| *number != leader).collect();
    chance.shuffle(&mut others);
    Ok((leader, others))
}

async fn leader_in_minority(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    let mut chance = Chance::new(ask.seed, "leader-in-minority");
    let (mut elected, mut outages) = (Vec::new(), Vec::new());
    for round in 0..ask.rounds(20, 3) {
        let (leader, others) = managers(&stage, &mut chance).await?;
        let id = stage.id(leader).await?;
        let (few, many) = stage.sides(&[leader, others[0], MANAGERS]);
        let cut = Partition::between(&few, &many)?;
        let (other, outage) = tokio::try_join!(stage.other_leader(id), stage.outage())?;
        stage.sheet.say(format!(
            "round {round}: another leader after {} ms, a write after {} ms",
            other.as_millis(),
            outage.as_millis()
        ));
        elected.push(other);
        outages.push(outage);
        stage.during("partition with the leader in the minority", cut, CUT).await?;
        stage.heals().await?;
    }
    stage.sheet.at_most("another leader, worst", percentile(&elected, 100), NEW_LEADER);
    stage
        .sheet
        .fact("another leader, median", format!("{} ms", percentile(&elected, 50).as_millis()));
    stage.sheet.fact("write outage, p95", format!("{} ms", percentile(&outages, 95).as_millis()));
    stage.finish().await
}

async fn leader_in_majority(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    let mut chance = Chance::new(ask.seed, "leader-in-majority");
    let rounds = ask.rounds(20, 3);
    let mut kept = 0;
    for round in 0..rounds {
        let (_leader, others) = managers(&stage, &mut chance).await?;
        let from = stage.watch.now();
        let (few, many) = stage.sides(&[others[0], others[1], MANAGERS]);
        let cut = Partition::between(&few, &many)?;
        stage.during("partition with the leader in the majority", cut, CUT).await?;
        stage.heals().await?;
        let changes = stage.watch.leaders_since(from).len();
        stage.sheet.say(format!("round {round}: {changes} leader changes"));
        kept += usize::from(changes == 0);
    }
    stage.sheet.share("rounds without a leader change", kept, rounds, 90.0);
    stage.finish().await
}

async fn each_alone(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    let mut outages = Vec::new();
    for number in 0..MANAGERS + WORKERS {
        let (one, rest) = stage.sides(&[number]);
        let cut = Partition::between(&one, &rest)?;
        let outage = stage.outage().await?;
        stage.sheet.say(format!("node {number} alone: a write after {} ms", outage.as_millis()));
        outages.push(outage);
        stage.during("node cut off alone", cut, CUT).await?;
        stage.heals().await?;
    }
    stage.sheet.at_most("write outage, worst", percentile(&outages, 100), NEW_LEADER);
    stage.finish().await
}

async fn one_way(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    let mut chance = Chance::new(ask.seed, "one-way");
    let mut worst = 0;
    for round in 0..ask.rounds(6, 2) {
        let (_leader, others) = managers(&stage, &mut chance).await?;
        let (one, rest) = stage.sides(&others[..1]);
        let term = stage.watch.term();
        let deaf = round % 2 == 0;
        let links = rest.iter().map(|other| if deaf { (*other, one[0]) } else { (one[0], *other) });
        let what = if deaf { "follower deaf" } else { "follower mute" };
        let cut = Partition::of(links)?;
        stage.during(what, cut, 2 * CUT).await?;
        stage.heals().await?;
        let rise = stage.watch.term().saturating_sub(term);
        stage.sheet.say(format!("round {round}: {what}, term +{rise}"));
        worst = rise.max(worst);
    }
    stage.sheet.no_more("terms a one-way link cost, worst", worst, 2);
    stage.finish().await
}

/// Acknowledged writes in a span from now on.
async fn writes_during(stage: &Stage, time: Duration) -> usize {
    let journal = stage.load.journal();
    let from = journal.now_us();
    sleep(time).await;
    journal.ends(F::Write, from, journal.now_us()).iter().filter(|it| **it == Kind::Ok).count()
}

async fn bridge(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    let mut chance = Chance::new(ask.seed, "bridge");
    let time = ask.seconds(30, 10);
    let (_leader, others) = managers(&stage, &mut chance).await?;
    let before = writes_during(&stage, time).await;
    let (a, b) = (stage.addr(others[0]), stage.addr(others[1]));
    let cut = Partition::between(&[a], &[b])?;
    let within = writes_during(&stage, time).await;
    stage.during("two followers blind for each other", cut, Duration::ZERO).await?;
    stage.heals().await?;
    // Before and after: what else this machine does comes and goes.
    let after = writes_during(&stage, time).await;
    let without = usize::midpoint(before, after);
    stage.sheet.share("writes during the fault of those without it", within, without, 90.0);
    stage.finish().await
}

async fn ring(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, 0).await?;
    let far = |a: usize, b: usize| (a + 2) % MANAGERS == b || (b + 2) % MANAGERS == a;
    let pairs = (0..MANAGERS).flat_map(|a| (0..MANAGERS).map(move |b| (a, b)));
    let links: Vec<_> =
        pairs.filter(|(a, b)| far(*a, *b)).map(|(a, b)| (stage.addr(a), stage.addr(b))).collect();
    let from = stage.load.journal().now_us();
    let cut = Partition::of(links)?;
    stage.during("ring of majorities", cut, ask.seconds(60, 15)).await?;
    stage.slots(from, 50.0);
    stage.heals().await?;
    stage.finish().await
}

async fn flapping(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    let mut chance = Chance::new(ask.seed, "flapping");
    let (_leader, others) = managers(&stage, &mut chance).await?;
    let (one, rest) = stage.sides(&others[..1]);
    let (from, time) = (stage.watch.now(), ask.seconds(300, 20));
    let started = stage.load.journal().now_us();
    while stage.watch.now() < from + time {
        let cut = Partition::between(&one, &rest)?;
        stage.during("link down for a second", cut, Duration::from_secs(1)).await?;
        sleep(Duration::from_secs(1)).await;
    }
    let changes = u64::try_from(stage.watch.leaders_since(from).len())?;
    stage.sheet.no_more("leader changes", changes, time.as_secs().div_ceil(60));
    stage.slots(started, 90.0);
    stage.heals().await?;
    stage.finish().await
}

/// Lets a fault act for some time; at least so many percent of the writes then must succeed.
async fn writes_succeed(
    stage: &mut Stage,
    what: &str,
    fault: Partition,
    time: Duration,
    least: f64,
) -> Result<()> {
    let journal = stage.load.journal();
    let from = journal.now_us();
    stage.during(what, fault, time).await?;
    let ends = journal.ends(F::Write, from, journal.now_us());
    if ends.len() < 50 {
        return Err(invalid(format!("only {} writes: {what}", ends.len())));
    }
    let fine = ends.iter().filter(|kind| **kind == Kind::Ok).count();
    stage.sheet.share(&format!("writes acknowledged: {what}"), fine, ends.len(), least);
    Ok(())
}

async fn corruption(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    stage.watch.forget_downs();
    let fault = Partition::corrupting(all_links(&stage.addrs()), 1)?;
    let what = "wrong bits in 1 % of the packets";
    writes_succeed(&mut stage, what, fault, ask.seconds(60, 15), 99.0).await?;
    let downs = stage.watch.downs().len();
    stage.sheet.no_more("nodes called down", u64::try_from(downs)?, 0);
    stage.heals().await?;
    stage.finish().await
}

async fn loss(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    // With two packets of five gone, most of the load waits.
    stage.floor = 5.0;
    for (percent, least) in [(5, 99.0), (20, 95.0), (40, 50.0)] {
        stage.watch.forget_downs();
        let filter = format!("numgen random mod 100 < {percent}");
        let loss = Partition::matching(all_links(&stage.addrs()), &filter)?;
        let what = format!("loss of {percent} %");
        writes_succeed(&mut stage, &what, loss, ask.seconds(60, 15), least).await?;
        let downs = stage.watch.downs().len();
        let what = format!("nodes called down at {percent} % loss");
        if percent <= 20 {
            stage.sheet.no_more(&what, u64::try_from(downs)?, 0);
        } else {
            stage.sheet.fact(&what, downs.to_string());
        }
        stage.heals().await?;
    }
    stage.finish().await
}

async fn mtu_hole(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, WORKERS).await?;
    let cut = Partition::matching(all_links(&stage.addrs()), "meta length > 1228")?;
    let outage = stage.outage().await?;
    // 1200 bytes of QUIC with the headers of UDP and IP.
    let large = stage.large_write().await?;
    stage.during("MTU hole", cut, ask.seconds(60, 15)).await?;
    stage.sheet.at_most("write after the hole opened", outage, Duration::from_secs(10));
    stage.sheet.at_most("100 KiB written within the hole", large, Duration::from_secs(10));
    stage.heals().await?;
    stage.finish().await
}
