//! 36 to 38 of the catalogue: replicas that are damaged, emptied or old, and come back by themselves.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::FutureExt;
use futures::future::BoxFuture;
use swarm_model::cluster::ClusterSpec;
use swarm_model::command::Op;
use swarm_model::node::Role;
use swarm_node::api::backend::Backend;
use swarm_node::quarantine::MARKER_FILE;
use tokio::time::{Instant, sleep};

use super::{agree, create, leader_of, others, running, until_exact, until_settled};
use crate::sim::cluster::{Cluster, Kill};
use crate::sim::converge::wait_until;
use crate::sim::faults::leader;
use crate::sim::run::Run;
use crate::sim::world::Up;

/// How soon a quarantined node of a sound cluster is fed again.
const BACK_WITHIN: Duration = Duration::from_secs(30);

/// Flips a byte of one of the tables' files, somewhere in what was written first.
fn damage(run: &mut Run, number: u32) -> anyhow::Result<()> {
    let table = ["log", "kv"][usize::from(run.chance.percent(30))];
    damage_table(run, number, table)
}

fn damage_table(run: &mut Run, number: u32, table: &str) -> anyhow::Result<()> {
    let disk = run.cluster.disk(number)?;
    let folder = Path::new("/data/store").join(table);
    let files: Vec<_> =
        disk.files().into_iter().filter(|(path, _)| path.starts_with(&folder)).collect();
    let (path, _) = run.chance.pick(&files).context("a file")?.clone();
    // Behind the file's own head, in the first record.
    let offset = usize::try_from(run.chance.between(66, 90))?;
    run.cluster.world.note(&format!("n{number}: byte {offset} of {} flips", path.display()));
    run.cluster.world.count("fault: byte flipped");
    ensure!(disk.flip(&path, offset, 1 << run.chance.between(0, 7)), "no byte there");
    Ok(())
}

/// Waits until everybody is well again, starting lives anew meanwhile.
async fn until_well(run: &mut Run) -> anyhow::Result<()> {
    let end = Instant::now() + BACK_WITHIN;
    loop {
        run.cluster.bear_again().await?;
        run.cluster.world.check()?;
        let Err(wrong) = well(&run.cluster) else { break };
        ensure!(Instant::now() < end, "not well within {BACK_WITHIN:?}: {wrong}");
        sleep(Duration::from_millis(50)).await;
    }
    until_settled(run, 30).await
}

/// Nobody is in quarantine, and every manager votes.
fn well(cluster: &Cluster) -> Result<(), String> {
    if let Some((number, reason)) = quarantined(cluster).first() {
        return Err(format!("n{number} is in quarantine: {reason}"));
    }
    let leader = leader(cluster).and_then(|number| cluster.node(number).ok());
    let leader = leader.ok_or("nobody leads")?;
    let voters = leader.core().consensus.status_now().voters;
    let view = leader.view();
    let mut managers = view.nodes.values().filter(|node| node.spec.role == Role::Manager);
    match managers.find(|manager| !voters.contains(&manager.id)) {
        Some(manager) => Err(format!("{} does not vote", manager.description.hostname)),
        None => Ok(()),
    }
}

/// The nodes in quarantine, and why.
fn quarantined(cluster: &Cluster) -> Vec<(u32, String)> {
    let reason = |up: &Up| up.node.core().quarantine.borrow().clone();
    cluster.world.up().iter().filter_map(|(number, up)| Some((*number, reason(up)?))).collect()
}

/// Somebody who votes, the leader included.
fn victim(run: &mut Run) -> anyhow::Result<u32> {
    let managers: Vec<u32> = run.cluster.numbers().into_iter().take(3).collect();
    run.chance.pick(&managers).copied().context("managers")
}

/// 36 and 37: damaged while it was down, back by itself, its tasks untouched.
pub(super) fn damaged_log(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        let web = create(run, "web", 10).await?;
        until_exact(run, 10).await?;
        run.start_clients(3);
        sleep(run.chance.millis(500, 3000)).await;
        let victim = victim(run)?;
        let view = run.cluster.node(victim)?.view();
        let mut before = running(run);
        // What clients run comes and goes.
        before.retain(|(_, id)| view.tasks.get(id).is_some_and(|task| task.service == web));
        run.cluster.kill(victim, Kill::Process).await?;
        damage_table(run, victim, "log")?;
        run.cluster.boot(victim).await?;
        ensure!(quarantined(&run.cluster).len() == 1, "the damage was not found");
        until_well(run).await?;
        ensure!(before.is_subset(&running(run)), "a task was restarted");
        run.settle().await
    }
    .boxed()
}

/// As many as a majority can do without, in the same moment.
pub(super) fn two_of_five(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        run.start_clients(4);
        sleep(run.chance.millis(500, 3000)).await;
        let mut numbers = run.cluster.numbers();
        run.chance.shuffle(&mut numbers);
        let two = [(numbers[0], Kill::Power), (numbers[1], Kill::Process)];
        run.cluster.kill_together(&two).await?;
        for (number, _) in two {
            damage(run, number)?;
            run.cluster.boot(number).await?;
        }
        ensure!(quarantined(&run.cluster).len() == 2, "the damage was not found");
        until_well(run).await?;
        run.settle().await
    }
    .boxed()
}

/// Nobody may take it in while the others are no majority without it; it comes back when they are.
pub(super) fn without_a_majority(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        run.start_clients(3);
        sleep(run.chance.millis(500, 2000)).await;
        let mut numbers = run.cluster.numbers();
        run.chance.shuffle(&mut numbers);
        let (damaged, down) = (numbers[0], numbers[1]);
        run.cluster.kill_together(&[(damaged, Kill::Power), (down, Kill::Power)]).await?;
        damage(run, damaged)?;
        run.cluster.boot(damaged).await?;
        sleep(Duration::from_secs(1)).await;
        let acknowledged = run.ledger.acknowledged();
        sleep(run.chance.millis(5000, 20_000)).await;
        let [(_, reason)] = &quarantined(&run.cluster)[..] else {
            anyhow::bail!("it did not wait for a majority");
        };
        ensure!(reason.contains("swarm recover"), "it names no way out: {reason}");
        ensure!(run.ledger.acknowledged() == acknowledged, "acknowledged without a majority");
        run.cluster.boot(down).await?;
        until_well(run).await?;
        run.settle().await
    }
    .boxed()
}

/// All tables are gone, with the identity in place: no new node.
pub(super) fn emptied(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        run.start_clients(3);
        sleep(run.chance.millis(1000, 10_000)).await;
        let victim = victim(run)?;
        run.cluster.kill(victim, Kill::Power).await?;
        sleep(run.chance.millis(0, 3000)).await;
        run.cluster.empty(victim)?;
        run.cluster.boot(victim).await?;
        ensure!(quarantined(&run.cluster).len() == 1, "an emptied node took part");
        until_well(run).await?;
        run.settle().await
    }
    .boxed()
}

/// 38: an old copy of the whole data directory finds out that it is one before it says a word.
pub(super) fn old_copy(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        run.start_clients(3);
        // Copied while it runs, or while it is down: then its next start is one that others know.
        // What a follower had is known to its leader; what a leader had, to nobody.
        let live = run.chance.percent(50);
        let leading = leader_of(run)?;
        let victim = if live { others(run, &[leading])[0] } else { victim(run)? };
        if live {
            sleep(run.chance.millis(500, 2000)).await;
        } else {
            run.cluster.kill(victim, Kill::Process).await?;
        }
        let copy = run.cluster.copy(victim)?;
        if !live {
            run.cluster.boot(victim).await?;
        }
        sleep(run.chance.millis(3000, 8000)).await;
        run.cluster.kill(victim, Kill::Process).await?;
        run.cluster.restore(victim, copy)?;
        run.cluster.boot(victim).await?;
        let node = run.cluster.node(victim)?;
        wait_until(&run.cluster, "an old copy that knows it", Duration::from_secs(10), || {
            let knows = node.core().born_again.is_cancelled();
            if knows { Ok(()) } else { Err("it takes itself for the node".to_owned()) }
        })
        .await?;
        until_well(run).await?;
        run.settle().await
    }
    .boxed()
}

/// Killed again and again before it is taken in: each start takes up where the last one was.
pub(super) fn killed_meanwhile(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        run.start_clients(3);
        sleep(run.chance.millis(500, 2000)).await;
        let victim = victim(run)?;
        run.cluster.kill(victim, Kill::Power).await?;
        damage(run, victim)?;
        for _ in 0..run.chance.between(1, 5) {
            run.cluster.boot(victim).await?;
            sleep(run.chance.millis(0, 400)).await;
            run.cluster.kill(victim, Kill::Power).await?;
        }
        run.cluster.boot(victim).await?;
        until_well(run).await?;
        run.settle().await
    }
    .boxed()
}

/// Killed in the very moment in which each step of coming back was done.
pub(super) fn killed_at_each_step(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        run.start_clients(3);
        sleep(run.chance.millis(500, 2000)).await;
        let victim = victim(run)?;
        let id = run.cluster.id(victim)?;
        run.cluster.kill(victim, Kill::Power).await?;
        damage(run, victim)?;
        for step in ["emptied", "expelled", "granted", "fed", "lifted"] {
            run.cluster.boot(victim).await?;
            let node = run.cluster.node(victim)?;
            let core = node.core();
            let limit = Duration::from_secs(10);
            let end = Instant::now() + limit;
            loop {
                let marker = std::fs::read_to_string(core.data_dir.join(MARKER_FILE));
                let marker = marker.unwrap_or_default();
                let reached = match step {
                    "emptied" => marker.contains("Emptied"),
                    "expelled" => leader(&run.cluster).is_some_and(|leader| {
                        let leader = run.cluster.node(leader).map(|it| it.core().clone());
                        leader.is_ok_and(|it| !it.consensus.status_now().voters.contains(&id))
                    }),
                    "granted" => marker.contains("Granted"),
                    "fed" => core.consensus.status_now().last_log.0 > 0,
                    _ => marker.is_empty(),
                };
                if reached {
                    break;
                }
                ensure!(Instant::now() < end, "{step}: not within {limit:?}");
                sleep(Duration::from_millis(1)).await;
            }
            run.cluster.world.count("fault: killed while it comes back");
            run.cluster.kill(victim, Kill::Power).await?;
        }
        run.cluster.boot(victim).await?;
        until_well(run).await?;
        run.settle().await
    }
    .boxed()
}

/// While a voter was down all others that it knows as voters were replaced, and then died.
pub(super) fn voters_gone(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        let spec = ClusterSpec { max_voters: 3, ..ClusterSpec::default() };
        agree(run, Op::UpdateCluster { version: None, spec }).await?;
        let first = until_voters(run, |voters| voters.len() == 3).await?;
        run.start_clients(2);
        let leading = leader_of(run)?;
        let mut going: Vec<u32> = first.iter().copied().filter(|it| *it != leading).collect();
        run.chance.shuffle(&mut going);
        going.push(leading);
        let back = going[0];
        for number in &going {
            run.cluster.kill(*number, Kill::Power).await?;
            // The last one's seat stays empty: nobody is left to take it.
            if *number != leading {
                until_voters(run, |voters| !voters.contains(number)).await?;
            }
        }
        sleep(run.chance.millis(0, 40_000)).await;
        run.cluster.boot(back).await?;
        until_voters(run, |voters| voters.contains(&back)).await?;
        for number in &going[1..] {
            run.cluster.boot(*number).await?;
        }
        until_settled(run, 60).await?;
        run.settle().await
    }
    .boxed()
}

/// Waits until the leader's voters are as wanted, and gives them.
async fn until_voters(
    run: &Run,
    wanted: impl Fn(&BTreeSet<u32>) -> bool,
) -> anyhow::Result<BTreeSet<u32>> {
    let mut found = BTreeSet::new();
    wait_until(&run.cluster, "other voters", Duration::from_secs(90), || {
        let leader = leader(&run.cluster).ok_or("nobody leads")?;
        let leader = run.cluster.node(leader).map_err(|error| error.to_string())?;
        let ids = leader.core().consensus.status_now().voters;
        let of = |number: &u32| run.cluster.id(*number).is_ok_and(|id| ids.contains(&id));
        found = run.cluster.numbers().into_iter().filter(of).collect();
        if wanted(&found) { Ok(()) } else { Err(format!("{found:?} vote")) }
    })
    .await?;
    Ok(found)
}
