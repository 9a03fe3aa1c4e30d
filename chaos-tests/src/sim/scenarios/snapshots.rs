//! Snapshots that are cut short, and the log being cut while members come, go and are cut off.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::FutureExt;
use futures::future::BoxFuture;
use swarm_model::command::Op;
use swarm_model::node::Role;
use tokio::time::sleep;

use super::super::cluster::Kill;
use super::super::converge::wait_until;
use super::super::run::Run;
use super::{agree, others, until_settled};

/// Members beyond which nobody joins any more.
const MEMBERS_MAX: usize = 7;

/// Where snapshots lie on every simulated disk, and how the name of an unfinished one ends.
const SNAPSHOTS: &str = "/data/store/snapshots";
const UNFINISHED: &str = "tmp";
/// Kills around a snapshot: so many, and more until one has hit its very writing.
const KILLS: u32 = 5;
const KILLS_MAX: u32 = 15;
/// Changes of the disk that a snapshot takes once its file is there: head, body, sync, rename and so on.
const CHANGES: u32 = 6;

/// 23 of the catalogue: a daemon that is short of memory dies in the middle of writing a snapshot.
pub(super) fn cut_short(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        run.start_clients(5);
        let (mut kills, mut amid) = (0, 0);
        while kills < KILLS || amid == 0 {
            ensure!(kills < KILLS_MAX, "none of {kills} kills hit the writing of a snapshot");
            let numbers = run.cluster.numbers();
            let number = *run.chance.pick(&numbers).context("a machine")?;
            // From some change on nothing works any more; then the process is gone.
            let changes = run.chance.between(0, CHANGES);
            run.cluster.disk(number)?.cut_power_in(Path::new(SNAPSHOTS), changes.into());
            in_a_snapshot(run, number).await?;
            amid += u32::from(is_unfinished(run, number)?);
            kills += 1;
            sleep(run.chance.millis(0, 400)).await;
            let how = if run.chance.percent(50) { Kill::Process } else { Kill::Power };
            run.cluster.kill(number, how).await?;
            sleep(run.chance.millis(0, 2000)).await;
            run.cluster.boot(number).await?;
            until_settled(run, 30).await?;
        }
        run.cluster.world.count_many("fault: killed around a snapshot", usize::try_from(kills)?);
        run.cluster.world.count_many("fault: killed in a snapshot", usize::try_from(amid)?);
        run.settle().await
    }
    .boxed()
}

/// Waits until a machine that was to end while it takes a snapshot has come to that.
async fn in_a_snapshot(run: &Run, number: u32) -> anyhow::Result<()> {
    let (disk, limit) = (run.cluster.disk(number)?, Duration::from_secs(120));
    wait_until(&run.cluster, "a snapshot", limit, || {
        if disk.is_cut() { Ok(()) } else { Err("none was begun".to_owned()) }
    })
    .await
}

/// Whether half a snapshot lies on the disk of a machine that has ended.
fn is_unfinished(run: &Run, number: u32) -> anyhow::Result<bool> {
    let files = run.cluster.disk(number)?.files();
    let mut files = files.iter().filter(|(path, _size)| path.starts_with(SNAPSHOTS));
    Ok(files.any(|(path, _size)| path.extension().is_some_and(|end| end == UNFINISHED)))
}

/// 49 of the catalogue: members come and go for ever while others are cut off or lose power, and the
/// log is cut all the time.
pub(super) fn members_and_partitions(run: &mut Run) -> BoxFuture<'_, anyhow::Result<()>> {
    async move {
        run.start_clients(5);
        for _ in 0..6 {
            // Newcomers ask the first machine, and the last one's number is not given again.
            let numbers = run.cluster.numbers();
            let middle: Vec<u32> = numbers[1..numbers.len() - 1].to_vec();
            let away = *run.chance.pick(&middle).context("three machines")?;
            let rest = others(run, &[away]);
            run.cluster.partition(&[away], &rest)?;
            run.cluster.world.count("fault: partition");
            sleep(run.chance.millis(0, 2000)).await;
            if run.chance.percent(60) && numbers.len() < MEMBERS_MAX {
                let role = if run.chance.percent(70) { Role::Manager } else { Role::Worker };
                run.cluster.join(role).await?;
                run.cluster.world.count("fault: member joined");
            } else if numbers.len() > 4 {
                let id = run.cluster.bury(away).await?;
                agree(run, Op::RemoveNode { id, force: true }).await?;
                run.cluster.world.count("fault: member removed");
            }
            sleep(run.chance.millis(500, 4000)).await;
            run.cluster.heal();
            let numbers = run.cluster.numbers();
            let dead = *run.chance.pick(&numbers).context("a machine")?;
            run.cluster.kill(dead, Kill::Power).await?;
            run.cluster.world.count("fault: power cut");
            sleep(run.chance.millis(0, 3000)).await;
            run.cluster.boot(dead).await?;
            until_settled(run, 30).await?;
        }
        run.settle().await
    }
    .boxed()
}
