//! The majority is lost for good: the survivor goes on, a backup begins anew, the old nodes are fenced.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use swarm_chaos::invariants::{Program, programs};
use swarm_chaos::real::{Cluster, Swarm, spec, wait_until};
use swarm_model::node::Role;
use swarm_node::api::types::{Info, NodeEntry, Written};

use crate::support::{LONG, SOON, fails};

/// Waits until node `number` says that it was left out.
async fn fenced(cluster: &Cluster, number: usize) -> Result<()> {
    wait_until("the old node knows that it was left out", LONG, async || {
        let info: Info = cluster.nodes()[number].info().await.ok()?;
        info.quarantine.filter(|why| why.contains("left out") && why.contains("leave --force"))
    })
    .await
    .map(drop)
}

fn on(programs: &[Program], node: usize) -> Vec<i32> {
    let mut pids: Vec<_> = programs.iter().filter(|it| it.node == node).map(|it| it.pid).collect();
    pids.sort_unstable();
    pids
}

#[tokio::test(flavor = "multi_thread")]
async fn survivor_goes_on_alone_restarts_no_task_and_fences_the_old_ones() -> Result<()> {
    let mut cluster = Cluster::start(3, 1).await?;
    let web = spec::service("web", 8, &spec::STAYS)?;
    cluster.client(0).post::<Written>("/v1/services/create", &web).await?;
    cluster.converged(0, "web", SOON).await?;
    let dir = cluster.nodes()[0].dir.clone();
    let refused = Swarm::at(&dir, &["recover", "--yes"]).run().await?;
    fails(&refused, 4, "has quorum")?;
    cluster.settled().await?;

    let before = programs(&cluster, "web")?;
    for lost in [1, 2] {
        cluster.node(lost).lose_machine()?;
    }
    let unasked = Swarm::at(&dir, &["recover"]).run().await?;
    fails(&unasked, 2, "--yes")?;
    ensure!(unasked.stdout.contains("2 of 3 lost"), "it shows {}", unasked.stdout);
    let said = Swarm::at(&dir, &["recover", "--yes"]).run().await?.ok()?;
    ensure!(said.contains("goes on as epoch 2"), "recover said {said}");
    cluster.client(0).post::<Written>("/v1/configs/create", &spec::config("c", b"1")?).await?;
    wait_until("the worker follows, the tasks of the lost run elsewhere", LONG, async || {
        let now = programs(&cluster, "web").ok()?;
        let worker: Info = cluster.nodes()[3].info().await.ok()?;
        (now.len() == 8 && worker.epoch == 2 && worker.quarantine.is_none()).then_some(())
    })
    .await?;
    let after = programs(&cluster, "web")?;
    for kept in [0, 3] {
        let (before, after) = (on(&before, kept), on(&after, kept));
        ensure!(before.iter().all(|pid| after.contains(pid)), "{before:?} became {after:?}");
    }

    for lost in [1, 2] {
        cluster.node(lost).restart()?;
        fenced(&cluster, lost).await?;
    }
    let nodes: Vec<NodeEntry> = cluster.client(0).get("/v1/nodes").await?;
    ensure!(nodes.len() == 2, "{} nodes are members", nodes.len());
    let old = cluster.nodes()[1].dir.clone();
    Swarm::at(&old, &["leave", "--force"]).run().await?.ok()?;
    ensure!(!old.join("node.json").exists(), "the fenced node did not leave");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_begins_the_cluster_anew_and_fences_its_managers() -> Result<()> {
    let mut cluster = Cluster::start(1, 1).await?;
    let web = spec::service("web", 4, &spec::STAYS)?;
    cluster.client(0).post::<Written>("/v1/services/create", &web).await?;
    cluster.converged(0, "web", SOON).await?;
    let secret = cluster.scratch().join("secret");
    fs::write(&secret, "correct horse battery\n")?;
    let file = cluster.scratch().join("cluster.swarmbak");
    let (secret, file) = (secret.display().to_string(), file.display().to_string());
    let dir = cluster.nodes()[0].dir.clone();
    let make = ["backup", "create", "--passphrase-file", &secret, &file];
    let said = Swarm::at(&dir, &make).run().await?.ok()?;
    ensure!(said.contains("encrypted") && said.contains("1 services"), "create said {said}");
    let before = on(&programs(&cluster, "web")?, 1);
    cluster.node(0).lose_machine()?;

    let place = cluster.add_place()?;
    let (addr, new) = (place.addr.to_string(), place.dir.clone());
    let locked = Swarm::at(&new, &["backup", "restore", &file]).run().await?;
    fails(&locked, 2, "encrypted")?;
    let bytes = fs::read(&file)?;
    let altered = cluster.scratch().join("altered.swarmbak");
    let mut wrong = bytes.clone();
    *wrong.last_mut().context("bytes")? ^= 1;
    fs::write(&altered, wrong)?;
    let altered = altered.display().to_string();
    let with = ["backup", "restore", "--passphrase-file", &secret];
    let refused = Swarm::at(&new, &[&with[..], &[&altered]].concat()).run().await?;
    ensure!(refused.code != 0 && refused.stderr.contains("nothing was restored"), "{refused:?}");

    let here = ["--foreground", "--listen-addr", &addr, "--advertise-addr", &addr, &file];
    cluster.node(2).spawn(&[&with[..], &here[..]].concat())?;
    cluster.node(2).serving().await?;
    wait_until("the worker follows and all tasks run", LONG, async || {
        let worker: Info = cluster.nodes()[1].info().await.ok()?;
        let now = programs(&cluster, "web").ok()?;
        (worker.epoch == 2 && worker.quarantine.is_none() && now.len() == 4).then_some(())
    })
    .await?;
    let after = on(&programs(&cluster, "web")?, 1);
    ensure!(before.iter().all(|pid| after.contains(pid)), "{before:?} became {after:?}");
    // The restored cluster lets nodes join, with the authority of before.
    let said =
        Swarm::at(&new, &["join-token", Role::Worker.to_string().as_str(), "-q"]).run().await?;
    ensure!(said.ok()?.starts_with("SWMTKN"), "no join token");
    cluster.node(0).restart()?;
    fenced(&cluster, 0).await
}
