//! Recoveries that others follow, that rival, that are refused; a backup that is refused.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, ensure};
use swarm_chaos::invariants::programs;
use swarm_chaos::real::{Cluster, Partition, Swarm, can_partition, spec, wait_until};
use swarm_model::node::Role;
use swarm_node::api::types::{Info, NodeEntry, Written};

use crate::support::{LONG, SOON, fails, skip};

async fn info_says(
    cluster: &Cluster,
    number: usize,
    what: &str,
    is: fn(&Info) -> bool,
) -> Result<()> {
    wait_until(what, LONG, async || {
        let info = cluster.nodes()[number].info().await.ok()?;
        is(&info).then_some(())
    })
    .await
}

fn left_out(info: &Info) -> bool {
    info.quarantine.as_ref().is_some_and(|why| why.contains("left out"))
}

fn rivals(info: &Info) -> bool {
    info.rival.as_ref().is_some_and(|why| why.contains("two recoveries"))
}

#[tokio::test(flavor = "multi_thread")]
async fn manager_that_is_heard_follows_the_survivor_and_no_task_of_theirs_is_restarted()
-> Result<()> {
    let mut cluster = Cluster::start(5, 0).await?;
    let web = spec::service("web", 10, &spec::STAYS)?;
    cluster.client(0).post::<Written>("/v1/services/create", &web).await?;
    cluster.converged(0, "web", SOON).await?;
    cluster.settled().await?;
    let before = programs(&cluster, "web")?;
    for lost in [2, 3, 4] {
        cluster.node(lost).lose_machine()?;
    }
    let dir = cluster.nodes()[0].dir.clone();
    wait_until("the survivor does not hear the lost", SOON, async || {
        let shown = Swarm::at(&dir, &["recover"]).run().await.ok()?;
        shown.stdout.contains("3 of 5 lost").then_some(())
    })
    .await?;
    Swarm::at(&dir, &["recover", "--yes"]).run().await?.ok()?;
    // One of two managers votes: two would be more fragile than one.
    info_says(&cluster, 1, "the kept manager follows", |info| {
        info.epoch == 2 && info.quarantine.is_none() && info.leader.is_some()
    })
    .await?;
    cluster.client(1).post::<Written>("/v1/configs/create", &spec::config("c", b"1")?).await?;
    for lost in [2, 3, 4] {
        cluster.node(lost).restart()?;
    }
    for lost in [2, 3, 4] {
        info_says(&cluster, lost, "a lost one is fenced", left_out).await?;
    }
    wait_until("all tasks run on those that are left", LONG, async || {
        let now = programs(&cluster, "web").ok()?;
        (now.len() == 10 && now.iter().all(|it| it.node < 2)).then_some(())
    })
    .await?;
    let after = programs(&cluster, "web")?;
    let kept = before.iter().filter(|it| it.node < 2);
    for program in kept {
        ensure!(after.contains(program), "{program:?} was restarted: {after:?}");
    }
    let nodes: Vec<NodeEntry> = cluster.client(0).get("/v1/nodes").await?;
    ensure!(nodes.len() == 2, "{} nodes are members", nodes.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_recoveries_that_did_not_know_of_each_other_stay_apart_and_say_so() -> Result<()> {
    if !can_partition() {
        return skip("needs root and nft");
    }
    let mut cluster = Cluster::start(3, 0).await?;
    cluster.settled().await?;
    cluster.node(2).lose_machine()?;
    let [one, other] = [0, 1].map(|number| cluster.nodes()[number].addr);
    let cut = Partition::between(&[one], &[other])?;
    for survivor in [0, 1] {
        let dir = cluster.nodes()[survivor].dir.clone();
        wait_until("nobody is heard any more", SOON, async || {
            let shown = Swarm::at(&dir, &["recover"]).run().await.ok()?;
            shown.stdout.contains("2 of 3 lost").then_some(())
        })
        .await?;
        Swarm::at(&dir, &["recover", "--yes"]).run().await?.ok()?;
        let name = format!("of{survivor}");
        let config = spec::config(&name, b"1")?;
        cluster.client(survivor).post::<Written>("/v1/configs/create", &config).await?;
    }
    drop(cut);
    for (survivor, theirs) in [(0, "of1"), (1, "of0")] {
        info_says(&cluster, survivor, "the rival is told", rivals).await?;
        let said = Swarm::at(&cluster.nodes()[survivor].dir, &["status"]).run().await?.ok()?;
        ensure!(said.contains("Rival:") && said.contains("leave --force"), "status said {said}");
        let mut client = cluster.client(survivor);
        let nodes: Vec<NodeEntry> = client.get("/v1/nodes").await?;
        ensure!(nodes.len() == 1, "{} nodes are members of one of two clusters", nodes.len());
        let mixed = client.get::<serde_json::Value>(&format!("/v1/configs/{theirs}")).await;
        ensure!(mixed.is_err(), "the clusters were merged");
    }
    // A person decides.
    let dir = cluster.nodes()[1].dir.clone();
    Swarm::at(&dir, &["leave", "--force"]).run().await?.ok()?;
    cluster.node(1).ended().await?;
    let token = cluster.token(Role::Manager).await?;
    let (addr, to) = (other.to_string(), one.to_string());
    let join = ["join", "--foreground", "--listen-addr", &addr, "--advertise-addr", &addr];
    cluster.node(1).spawn(&[&join[..], &["--token", &token, &to]].concat())?;
    info_says(&cluster, 1, "it is one of the other cluster", |info| {
        info.epoch == 2 && info.rival.is_none() && info.nodes == 2
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_recovered_is_refused_by_name_and_once_is_enough() -> Result<()> {
    let mut cluster = Cluster::start(3, 1).await?;
    cluster.settled().await?;
    let dirs: Vec<_> = cluster.nodes().iter().map(|node| node.dir.clone()).collect();
    let force = ["init", "--force-new-cluster"];
    fails(&Swarm::at(&dirs[0], &force).run().await?, 4, "a daemon runs")?;
    let nowhere = cluster.scratch().join("nowhere");
    let absent = Swarm::at(&nowhere, &force).run().await?;
    ensure!(absent.code != 0 && absent.stderr.contains("no node"), "{absent:?}");
    ensure!(!nowhere.exists(), "a refused command made a directory");
    for lost in [1, 2] {
        cluster.node(lost).lose_machine()?;
    }
    let worker = Swarm::at(&dirs[3], &["recover", "--yes"]).run().await?;
    ensure!(worker.code != 0 && worker.stderr.contains("manager"), "{worker:?}");
    cluster.node(3).stop().await?;
    let worker = Swarm::at(&dirs[3], &force).run().await?;
    ensure!(worker.code != 0 && worker.stderr.contains("no CA key"), "{worker:?}");
    cluster.node(3).restart()?;

    wait_until("the others are lost", SOON, async || {
        let shown = Swarm::at(&dirs[0], &["recover"]).run().await.ok()?;
        shown.stdout.contains("2 of 3 lost").then_some(())
    })
    .await?;
    let yes = || Swarm::at(&dirs[0], &["recover", "--yes"]);
    let (first, second) = (yes(), yes());
    let (first, second) = tokio::join!(first.run(), second.run());
    ensure!(first?.code == 0 || second?.code == 0, "neither recovered");
    let info = cluster.nodes()[0].info().await?;
    ensure!(info.epoch == 2, "epoch {} after two at once", info.epoch);
    fails(&yes().run().await?, 4, "has quorum")
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_manager_of_a_healthy_cluster_is_not_recovered_but_started() -> Result<()> {
    let mut cluster = Cluster::start(3, 0).await?;
    cluster.settled().await?;
    let dir = cluster.nodes()[0].dir.clone();
    let nobody = format!("unix://{}", cluster.scratch().join("nobody.sock").display());
    cluster.node(0).stop().await?;
    let elsewhere = Swarm::at(&dir, &["--host", &nobody, "recover", "--yes"]).run().await?;
    ensure!(elsewhere.code == 5, "another node was recovered than was named: {elsewhere:?}");
    fails(&Swarm::at(&dir, &["recover", "--yes"]).run().await?, 4, "has quorum")?;
    cluster.client(1).post::<Written>("/v1/configs/create", &spec::config("c", b"1")?).await?;
    for number in 0..3 {
        info_says(&cluster, number, "all go on as they were", |info| {
            info.epoch == 1 && info.quarantine.is_none() && info.nodes == 3 && info.leader.is_some()
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_survivor_is_started_and_keeps_the_manager_that_it_hears() -> Result<()> {
    let mut cluster = Cluster::start(5, 0).await?;
    cluster.settled().await?;
    for lost in [2, 3, 4] {
        cluster.node(lost).lose_machine()?;
    }
    cluster.node(0).stop().await?;
    let dir = cluster.nodes()[0].dir.clone();
    let shown = Swarm::at(&dir, &["recover", "--format", "json"]).run().await?.ok()?;
    let report: serde_json::Value = serde_json::from_str(&shown)?;
    let count = |what: &str| report[what].as_array().map(Vec::len);
    ensure!(count("Kept") == Some(2) && count("Lost") == Some(3), "it shows {shown}");
    // Long enough for the survivor to say that it waits for its lost majority.
    info_says(&cluster, 0, "it waits", |info| info.quarantine.is_some() && info.epoch == 1).await?;
    Swarm::at(&dir, &["recover", "--yes"]).run().await?.ok()?;
    for number in [0, 1] {
        info_says(&cluster, number, "both are of the next epoch", |info| {
            info.epoch == 2 && info.quarantine.is_none() && info.leader.is_some()
        })
        .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_manager_is_made_the_only_one_by_force() -> Result<()> {
    let mut cluster = Cluster::start(3, 0).await?;
    let web = spec::service("web", 6, &spec::STAYS)?;
    cluster.client(0).post::<Written>("/v1/services/create", &web).await?;
    cluster.converged(0, "web", SOON).await?;
    cluster.settled().await?;
    let before: BTreeSet<i32> =
        programs(&cluster, "web")?.iter().filter(|it| it.node == 0).map(|it| it.pid).collect();
    for lost in [1, 2] {
        cluster.node(lost).lose_machine()?;
    }
    cluster.node(0).stop().await?;
    cluster.node(0).spawn(&["init", "--force-new-cluster", "--foreground"])?;
    cluster.node(0).serving().await?;
    info_says(&cluster, 0, "it leads the next epoch", |info| {
        info.epoch == 2 && info.leader == Some(info.node_id) && info.nodes == 1
    })
    .await?;
    cluster.converged(0, "web", LONG).await?;
    let after: BTreeSet<i32> = programs(&cluster, "web")?.iter().map(|it| it.pid).collect();
    ensure!(before.is_subset(&after), "{before:?} became {after:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_backups_wrong_passphrases_and_full_directories_restore_nothing() -> Result<()> {
    let mut cluster = Cluster::start(1, 0).await?;
    cluster.client(0).post::<Written>("/v1/configs/create", &spec::config("c", b"1")?).await?;
    let scratch = cluster.scratch().to_owned();
    let (dir, path) = (cluster.nodes()[0].dir.clone(), |name: &str| scratch.join(name));
    let text = |name: &str| path(name).display().to_string();
    fs::write(path("right"), "correct horse\n")?;
    fs::write(path("wrong"), "battery\n")?;
    let (right, wrong) = (text("right"), text("wrong"));
    let (locked, plain) = (text("locked"), text("plain"));
    let create = ["backup", "create"];
    let with = ["--passphrase-file", &right, &locked];
    Swarm::at(&dir, &[&create[..], &with[..]].concat()).run().await?.ok()?;
    Swarm::at(&dir, &[&create[..], &["--plain", &plain]].concat()).run().await?.ok()?;
    let neither = Swarm::at(&dir, &[&create[..], &[&text("neither")]].concat()).run().await?;
    ensure!(neither.code == 2 && !path("neither").exists(), "{neither:?}");
    let over = Swarm::at(&dir, &[&create[..], &["--plain", &plain]].concat()).run().await?;
    ensure!(over.code != 0, "a backup was written over another one");

    let new = cluster.add_place()?.dir.clone();
    let restore = |options: &[&str]| Swarm::at(&new, &[&["backup", "restore"], options].concat());
    fails(&restore(&["--passphrase-file", &wrong, &locked]).run().await?, 2, "passphrase")?;
    for (file, key) in [(&locked, Some(&right)), (&plain, None)] {
        let whole = fs::read(file)?;
        let damaged = text("damaged");
        let mut key: Vec<&str> = key.map(|key| vec!["--passphrase-file", key]).unwrap_or_default();
        key.push(&damaged);
        for at in (0..whole.len()).step_by(whole.len() / 16) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x20;
            fs::write(&damaged, bytes)?;
            let refused = restore(&key).run().await?;
            ensure!(refused.code != 0, "byte {at} of {} was not missed", whole.len());
            ensure!(refused.stderr.contains("nothing was restored"), "{at}: {}", refused.stderr);
        }
        fs::write(&damaged, &whole[..whole.len() / 2])?;
        fails(&restore(&key).run().await?, 1, "cut short")?;
    }
    ensure!(!new.join("node.json").exists(), "something was restored");
    let occupied = ["backup", "restore", &plain];
    let refused = Swarm::at(&dir, &occupied).run().await?;
    ensure!(refused.code != 0, "a node's directory was overwritten");
    let info = cluster.nodes()[0].info().await.context("the node of before goes on")?;
    ensure!(info.epoch == 1, "it is of epoch {}", info.epoch);
    Ok(())
}
