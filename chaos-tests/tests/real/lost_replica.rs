//! A node whose replica is damaged, gone or old comes back by itself; one that is alone refuses.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use swarm_chaos::invariants::programs;
use swarm_chaos::real::{Cluster, spec, wait_until};
use swarm_node::api::types::{ClusterStatus, Info, NodeEntry, Written};

use crate::support::{Run, SOON, copy_dir};

/// Flips a byte of a stored record of `marker`s.
fn flip(dir: &Path, marker: u8) -> Result<PathBuf> {
    for entry in fs::read_dir(dir.join("store/log"))? {
        let path = entry?.path();
        let mut bytes = fs::read(&path)?;
        if let Some(at) = bytes.windows(64).position(|window| window == [marker; 64]) {
            bytes[at + 32] ^= 1;
            fs::write(&path, bytes)?;
            return Ok(path);
        }
    }
    anyhow::bail!("no record of the marker in {}", dir.display())
}

/// Waits until node `number` votes again and nobody is in quarantine.
async fn back(cluster: &Cluster, number: usize) -> Result<()> {
    let client = || cluster.client(number);
    wait_until("the node votes again", SOON, async || {
        let status: ClusterStatus = client().get("/v1/status").await.ok()?;
        let well = status.info.voter && status.info.quarantine.is_none();
        (well && status.quarantined.is_empty() && status.voters == 3).then_some(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_byte_heals_by_itself_and_tasks_are_not_restarted() -> Result<()> {
    let mut cluster = Cluster::start(3, 0).await?;
    let load = Run::start(&cluster);
    let config = spec::config("marker", &[b'x'; 2000])?;
    cluster.client(0).post::<Written>("/v1/configs/create", &config).await?;
    let web = spec::service("web", 6, &spec::STAYS)?;
    cluster.client(0).post::<Written>("/v1/services/create", &web).await?;
    cluster.converged(0, "web", SOON).await?;
    load.goes_on(5).await?;
    let before = programs(&cluster, "web")?;

    // Not stopped: its open connections would keep it down until its tasks are given up.
    cluster.node(2).kill()?;
    let dir = cluster.nodes()[2].dir.clone();
    let file = flip(&dir, b'x')?;
    cluster.node(2).restart()?;
    cluster.node(2).serving().await?;
    back(&cluster, 2).await?;
    let log = fs::read_to_string(cluster.nodes()[2].log_file())?;
    let name = file.display().to_string();
    ensure!(log.contains(&name) && log.contains("damaged"), "the damage is not named: {log}");
    ensure!(dir.join("store/replica.damaged").is_dir(), "no copy was kept");
    ensure!(!dir.join("quarantine.json").exists(), "the marker stayed");
    let mut after = programs(&cluster, "web")?;
    let mut before = before;
    before.sort_unstable_by_key(|it| it.pid);
    after.sort_unstable_by_key(|it| it.pid);
    assert_eq!(before, after, "tasks were restarted");
    load.verify(&cluster, &["web"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn emptied_store_is_no_new_node_and_comes_back() -> Result<()> {
    let mut cluster = Cluster::start(3, 0).await?;
    let load = Run::start(&cluster);
    load.goes_on(10).await?;
    cluster.node(0).kill()?;
    fs::remove_dir_all(cluster.nodes()[0].dir.join("store"))?;
    cluster.node(0).restart()?;
    cluster.node(0).serving().await?;
    back(&cluster, 0).await?;
    load.goes_on(5).await?;
    load.verify(&cluster, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_it_waits_and_says_so() -> Result<()> {
    let mut cluster = Cluster::start(3, 0).await?;
    let config = spec::config("marker", &[b'x'; 2000])?;
    cluster.client(0).post::<Written>("/v1/configs/create", &config).await?;
    cluster.settled().await?;
    for number in [1, 2] {
        cluster.node(number).stop().await?;
    }
    flip(&cluster.nodes()[2].dir, b'x')?;
    cluster.node(2).restart()?;
    cluster.node(2).serving().await?;
    wait_until("the node says why it waits", SOON, async || {
        let info: Info = cluster.nodes()[2].info().await.ok()?;
        info.quarantine.filter(|why| why.contains("damaged") && why.contains("swarm recover"))
    })
    .await?;
    let client = || cluster.client(0);
    wait_until("another node shows it", SOON, async || {
        let nodes: Vec<NodeEntry> = client().get("/v1/nodes?stale=true").await.ok()?;
        nodes.iter().any(|node| node.quarantine.is_some()).then_some(())
    })
    .await?;
    cluster.node(1).restart()?;
    back(&cluster, 2).await
}

#[tokio::test(flavor = "multi_thread")]
async fn old_copy_of_a_data_directory_knows_that_it_is_one() -> Result<()> {
    let mut cluster = Cluster::start(3, 0).await?;
    let load = Run::start(&cluster);
    load.goes_on(10).await?;
    cluster.node(1).stop().await?;
    let dir = cluster.nodes()[1].dir.clone();
    let copy = cluster.scratch().join("copy");
    copy_dir(&dir, &copy)?;
    cluster.node(1).restart()?;
    cluster.node(1).serving().await?;
    load.goes_on(20).await?;
    cluster.node(1).kill()?;
    fs::remove_dir_all(&dir)?;
    copy_dir(&copy, &dir)?;
    cluster.node(1).restart()?;
    back(&cluster, 1).await?;
    let log = fs::read_to_string(cluster.nodes()[1].log_file())?;
    ensure!(log.contains("old copy"), "it did not find out: {log}");
    load.verify(&cluster, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn wiped_disk_is_refused_as_that_node() -> Result<()> {
    let mut cluster = Cluster::start(3, 0).await?;
    cluster.node(2).lose_machine()?;
    let dir = cluster.nodes()[2].dir.clone();
    fs::remove_dir_all(&dir)?;
    fs::create_dir(&dir)?;
    let output = swarm_chaos::real::Swarm::at(&dir, &["daemon"]).run().await?;
    crate::support::fails(&output, 1, "swarm join")?;
    let nodes: Vec<NodeEntry> = cluster.client(0).get("/v1/nodes").await?;
    nodes.get(2).map(|_| ()).context("the lost node stays in the list")
}
