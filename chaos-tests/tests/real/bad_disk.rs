//! The disk is full: writes are refused for that reason, reads go on, and it recovers by itself.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use swarm_chaos::real::{ClientError, Cluster, spec, wait_until};
use swarm_node::api::types::Written;

use crate::support::{SOON, skip};

/// A small file system; gone when dropped.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn mount(at: &'a Path, size: &str) -> Result<Self> {
        fs::create_dir_all(at)?;
        let options = format!("size={size}");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(at)
            .status()
            .context("mount")?;
        ensure!(status.success(), "mount: {status}");
        Ok(Self(at))
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        // Lazy: whatever still writes its log there.
        if let Err(error) = Command::new("umount").arg("-l").arg(self.0).status() {
            tracing::error!(at = %self.0.display(), %error, "may still be mounted");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_refuses_writes_keeps_reads_and_recovers() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return skip("needs root");
    }
    let mut cluster = Cluster::empty()?;
    let dir = cluster.scratch().join("n0");
    let _small = Small::mount(&dir, "48m")?;
    cluster.init(&[]).await?;
    cluster.settled().await?;
    let mut client = cluster.client(0);
    client.post::<Written>("/v1/configs/create", &spec::config("before", b"1")?).await?;
    // Somebody else fills the disk up.
    let filler = dir.join("filler");
    let full = Command::new("dd")
        .args(["if=/dev/zero", "bs=4096", "status=none"])
        .arg(format!("of={}", filler.display()))
        .stderr(std::process::Stdio::null())
        .status()?;
    ensure!(!full.success(), "the disk is not full");

    let mut refusal = None;
    for number in 0..200 {
        let config = spec::config(&format!("c{number}"), &[0; 100_000])?;
        match client.post::<Written>("/v1/configs/create", &config).await {
            Ok(_written) => {}
            Err(error) => {
                refusal = Some(error);
                break;
            }
        }
    }
    let refusal = refusal.context("the disk never got full")?;
    ensure!(matches!(&refusal, ClientError::Refused(..)), "not refused: {refusal}");
    let told = refusal.to_string().to_lowercase();
    ensure!(told.contains("disk") || told.contains("space"), "it does not say why: {refusal}");
    client.get::<Value>("/v1/configs/before?stale=true").await.context("reads go on")?;
    ensure!(cluster.node(0).is_running(), "the daemon ended");

    fs::remove_file(filler)?;
    let after = spec::config("after", b"1")?;
    wait_until("writes are accepted again", SOON, async || {
        match client.post::<Written>("/v1/configs/create", &after).await {
            Ok(_written) => Some(()),
            Err(error) => (error.code() == "name_taken").then_some(()),
        }
    })
    .await?;
    client.get::<Value>("/v1/configs/before").await?;
    cluster.node(0).kill()
}
