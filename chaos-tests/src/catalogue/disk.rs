//! Disks that fail, get full, or get slow. What is damaged on a disk is tested in the product's own
//! tests of its store.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::time::sleep;

use super::stage::PATIENCE;
use super::verdict::invalid;
use super::{Ask, Need, Run, Scenario, Sheet, Stage};
use crate::real::{Cluster, Disk, Stopwatch, wait_until};
use crate::sim::chance::Chance;

const MANAGERS: usize = 3;
/// Large enough for a run, small enough to fill at once.
const SMALL_MIB: u64 = 96;

pub(super) const ALL: [Scenario; 3] = [
    Scenario {
        number: 32,
        name: "sync-fails",
        injects: "EIO on the k-th sync of a thread of one manager, k = 1..50; 3 managers, strace",
        figure: "nothing that was acknowledged lost; its daemon says so each time",
        needs: &[Need::Strace],
        run: Run::Real(|ask| Box::pin(sync_fails(ask))),
    },
    Scenario {
        number: 33,
        name: "disk-full",
        injects: "the disk of a follower, of the leader, of all full, 15 s each; 3 managers, tmpfs",
        figure: "a write ≤ 30 s after there is space again",
        needs: &[Need::SmallDisks],
        run: Run::Real(|ask| Box::pin(disk_full(ask))),
    },
    Scenario {
        number: 34,
        name: "slow-sync",
        injects: "every sync of every manager takes 50 ms more, 60 s; 3 managers, strace",
        figure: "≤ 2 leader changes",
        needs: &[Need::Strace],
        run: Run::Real(|ask| Box::pin(slow_sync(ask))),
    },
];

/// The daemon under strace, which tampers with its syncs and notes them in `log`.
fn tampered(fault: &str, log: &std::path::Path) -> Vec<String> {
    let inject = format!("inject=fdatasync,fsync:{fault}");
    let log = log.to_string_lossy();
    let words = ["strace", "-D", "-f", "-qq", "--seccomp-bpf", "-o", &log];
    let mut words: Vec<String> = words.map(str::to_owned).to_vec();
    words.extend(["-e".to_owned(), "trace=fdatasync,fsync".to_owned(), "-e".to_owned(), inject]);
    words
}

async fn sync_fails(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, 1).await?;
    let mut chance = Chance::new(ask.seed, "sync-fails");
    let rounds = ask.rounds(50, 4);
    for round in 0..rounds {
        let k = if rounds < 50 { round * 50 / rounds + 1 } else { round % 50 + 1 };
        let number = chance.between(0, 2) as usize;
        let log = stage.cluster.scratch().join(format!("strace-{round}"));
        stage.cluster.node(number).kill()?;
        let before = fs::read(stage.cluster.nodes()[number].log_file())?.len();
        let words = tampered(&format!("error=EIO:when={k}"), &log);
        stage.cluster.node(number).wrap(words);
        stage.cluster.node(number).restart()?;
        // It may be hit before it serves at all.
        wait_until("the sync fails", PATIENCE, async || {
            let seen = fs::read_to_string(&log).unwrap_or_default();
            seen.contains("INJECTED").then_some(())
        })
        .await
        .map_err(|error| invalid(format!("{error:#} (k = {k})")))?;
        stage.sheet.injected("failed sync", 1);
        let node = stage.cluster.node(number);
        wait_until("the failed sync is told", Duration::from_secs(15), async || {
            let log = fs::read(node.log_file()).ok()?;
            let text = String::from_utf8_lossy(log.get(before..)?).to_lowercase();
            text.contains("input/output error").then_some(())
        })
        .await
        .with_context(|| format!("a failed sync went unnoticed: k = {k}"))?;
        stage.sheet.say(format!("round {round}: k = {k}, node {number}: told"));
        // It has ended, or starts anew within its process, only to meet the next failure.
        stage.cluster.node(number).kill()?;
        stage.cluster.node(number).wrap(Vec::new());
        stage.restart(number).await.with_context(|| format!("after a failed sync, k = {k}"))?;
        stage.heals().await?;
    }
    stage.finish().await
}

async fn disk_full(ask: Ask) -> Result<Sheet> {
    let disk = |at: &std::path::Path| Disk::small(at, SMALL_MIB).map(Some);
    let cluster = Cluster::start_on(MANAGERS, 0, &[], disk).await?;
    let mut stage = Stage::with(&ask, cluster).await?;
    // While all disks are full no write is answered, and reads only until the leader steps down.
    stage.floor = 5.0;
    for who in ["a follower", "the leader", "all"] {
        let leader = stage.cluster.leader().await?;
        let hit = match who {
            "a follower" => vec![(leader + 1) % MANAGERS],
            "the leader" => vec![leader],
            _ => (0..MANAGERS).collect(),
        };
        let mut fillers = Vec::new();
        for number in hit {
            fillers.push(stage.cluster.disk(number).context("no disk of its own")?.fill()?);
        }
        stage.sheet.injected(&format!("disk full: {who}"), 1);
        let from = stage.load.journal().now_us();
        let time = ask.seconds(15, 8);
        sleep(time).await;
        let written = stage.load.journal().writes_since(from).len();
        stage.sheet.fact(&format!("writes acknowledged while full: {who}"), written.to_string());
        if who != "all" {
            let what = format!("no write while there is no room on {who} alone");
            stage.sheet.no_more(&what, u64::from(written == 0), 0);
        }
        drop(fillers);
        let watch = Stopwatch::start();
        stage.outage().await?;
        let what = format!("write after space is back: {who}");
        stage.sheet.at_most(&what, watch.elapsed(), Duration::from_secs(30));
        for number in 0..MANAGERS {
            let node = stage.cluster.node(number);
            ensure!(node.is_running(), "A: a full disk ended daemon {number}: {}", node.log_end());
        }
        stage.heals().await?;
    }
    stage.finish().await
}

async fn slow_sync(ask: Ask) -> Result<Sheet> {
    let mut stage = Stage::start(&ask, MANAGERS, 1).await?;
    stage.floor = 10.0;
    for number in 0..MANAGERS {
        let log = stage.cluster.scratch().join(format!("strace-{number}"));
        let node = stage.cluster.node(number);
        node.kill()?;
        node.wrap(tampered("delay_enter=50000", &log));
        stage.restart(number).await?;
        stage.heals().await?;
    }
    let (began, from) = (stage.watch.now(), stage.load.journal().now_us());
    sleep(ask.seconds(60, 20)).await;
    let mut slow = 0;
    for number in 0..MANAGERS {
        let log = stage.cluster.scratch().join(format!("strace-{number}"));
        slow += fs::read_to_string(log)?.matches("DELAYED").count();
    }
    if slow == 0 {
        return Err(invalid("no sync was slowed down"));
    }
    stage.sheet.injected("slow sync", u64::try_from(slow)?);
    let changes = stage.watch.leaders_since(began).len();
    stage.sheet.no_more("leader changes", u64::try_from(changes)?, 2);
    stage.slots(from, 95.0);
    stage.finish().await
}
