//! Data directories that are damaged, incomplete or mixed up: refused, never silently lost.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use swarm_chaos::real::{Cluster, Swarm, spec};
use swarm_node::api::types::Written;

use crate::support::fails;

/// A node with some state, stopped.
async fn stopped() -> Result<Cluster> {
    let mut cluster = Cluster::start(1, 0).await?;
    let mut client = cluster.client(0);
    for number in 0..20 {
        let config = spec::config(&format!("c{number}"), &[b'x'; 2000])?;
        client.post::<Written>("/v1/configs/create", &config).await?;
    }
    cluster.node(0).stop().await?;
    Ok(cluster)
}

async fn start(dir: &Path) -> Result<swarm_chaos::real::Output> {
    Swarm::at(dir, &["daemon"]).run().await
}

/// The files of the log, by size.
fn log_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    let size = |path: &PathBuf| fs::metadata(path).map(|found| found.len()).unwrap_or_default();
    found.retain(|path| path.components().any(|part| part.as_os_str() == "log"));
    found.sort_by_key(|path| std::cmp::Reverse(size(path)));
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_byte_in_the_log_is_found_and_named() -> Result<()> {
    let cluster = stopped().await?;
    let dir = &cluster.nodes()[0].dir;
    let files = log_files(dir)?;
    let file = files.first().context("no log file")?;
    let mut bytes = fs::read(file)?;
    // Within a record of one of the configs, not in what is still empty.
    let at = bytes.windows(64).position(|window| window == [b'x'; 64]).context("no record")?;
    bytes[at + 32] ^= 1;
    fs::write(file, bytes)?;
    let output = start(dir).await?;
    ensure!(output.code == 1 && output.stderr.contains("damaged"), "{output:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_log_is_not_taken_for_a_new_node() -> Result<()> {
    let cluster = stopped().await?;
    let dir = &cluster.nodes()[0].dir;
    for file in log_files(dir)? {
        fs::remove_file(file)?;
    }
    let output = start(dir).await?;
    ensure!(output.code == 1 && !output.stderr.is_empty(), "it started: {output:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_settings_and_missing_directories_are_named() -> Result<()> {
    let cluster = stopped().await?;
    let dir = &cluster.nodes()[0].dir;
    fs::write(dir.join("node.json"), "{\"ClusterID\":")?;
    let output = start(dir).await?;
    ensure!(output.code == 1 && output.stderr.contains("node.json"), "{output:?}");
    let output = start(&cluster.scratch().join("nowhere")).await?;
    fails(&output, 1, "nowhere")
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_or_identity_of_another_cluster_are_refused() -> Result<()> {
    let (one, other) = tokio::try_join!(stopped(), stopped())?;
    let (dir, strange) = (&one.nodes()[0].dir, &other.nodes()[0].dir);
    let own = fs::read(dir.join("identity.pem"))?;
    fs::copy(strange.join("identity.pem"), dir.join("identity.pem"))?;
    let output = start(dir).await?;
    ensure!(output.code == 1 && output.stderr.contains("another node"), "{output:?}");

    // Whole identity of the other node, but these tables.
    fs::copy(strange.join("node.json"), dir.join("node.json"))?;
    let output = start(dir).await?;
    ensure!(output.code == 1 && !output.stderr.is_empty(), "{output:?}");
    ensure!(output.stderr.contains("another"), "{}", output.stderr);
    ensure!(fs::read(dir.join("identity.pem"))? != own, "the test mixed nothing up");
    Ok(())
}
