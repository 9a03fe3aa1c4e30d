//! N8: a machine that boots without a peer in reach starts what it ran last.

use std::fs;

use anyhow::{Result, ensure};
use swarm_chaos::invariants::programs;
use swarm_chaos::real::{Cluster, Stopwatch, spec, wait_until};
use swarm_node::api::types::{Info, Written};

use crate::support::{LONG, SOON, skip};

/// How soon after the daemon's start.
const STARTS_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);
/// Long enough for the leader to look at what runs there, several times.
const LOOKED_AT: std::time::Duration = std::time::Duration::from_secs(8);

/// Runs the daemon where the kernel shows another boot id: in a mount namespace of its own.
fn booted(id: &str) -> Vec<String> {
    let mount = format!("mount --bind {id} /proc/sys/kernel/random/boot_id && exec \"$@\"");
    ["unshare", "--mount", "sh", "-c", &mount, "sh"].map(str::to_owned).to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn machine_that_boots_alone_starts_its_tasks_and_keeps_them_when_the_others_return()
-> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return skip("needs root");
    }
    let mut cluster = Cluster::start(3, 1).await?;
    let web = spec::service("web", 8, &spec::STAYS)?;
    cluster.client(0).post::<Written>("/v1/services/create", &web).await?;
    cluster.converged(0, "web", SOON).await?;
    let pids = |cluster: &Cluster| -> Result<Vec<i32>> {
        let all = programs(cluster, "web")?.into_iter().filter(|it| it.node == 3);
        let mut pids: Vec<i32> = all.map(|it| it.pid).collect();
        pids.sort_unstable();
        Ok(pids)
    };
    let before = pids(&cluster)?;
    ensure!(!before.is_empty(), "nothing runs on the worker");
    // The site's power fails; the worker is back first.
    for number in 0..4 {
        cluster.node(number).lose_machine()?;
    }
    let id = cluster.scratch().join("boot_id");
    fs::write(&id, "5f2d4f2c-6f0e-4a63-9f0b-000000000002\n")?;
    cluster.node(3).wrap(booted(&id.display().to_string()));
    let watch = Stopwatch::start();
    cluster.node(3).restart()?;
    wait_until("the worker runs what it ran", STARTS_WITHIN, async || {
        (pids(&cluster).ok()?.len() == before.len()).then_some(())
    })
    .await?;
    let took = watch.elapsed();
    ensure!(took <= STARTS_WITHIN, "the tasks were started after {took:?}");
    let alone = pids(&cluster)?;
    ensure!(alone.iter().all(|pid| !before.contains(pid)), "{before:?} survived a power cut");

    for number in 0..3 {
        cluster.node(number).wrap(booted(&id.display().to_string()));
        cluster.node(number).restart()?;
    }
    wait_until("the others lead again", LONG, async || {
        let worker: Info = cluster.nodes()[3].info().await.ok()?;
        worker.leader.map(drop)
    })
    .await?;
    cluster.converged(0, "web", LONG).await?;
    let looked = Stopwatch::start();
    wait_until("the leader has looked", LONG, async || {
        (looked.elapsed() > LOOKED_AT).then_some(())
    })
    .await?;
    let after = pids(&cluster)?;
    ensure!(alone == after, "healthy tasks {alone:?} became {after:?}");
    Ok(())
}
