//! The first steps of a user, with the commands as people type them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use swarm_chaos::real::{Block, Swarm, processes, wait_until};
use swarm_node::api::types::Info;

use crate::support::SOON;

/// Three directories whose nodes die with this value.
struct Nodes {
    scratch: tempfile::TempDir,
}

impl Nodes {
    fn dir(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        if let Err(error) = processes::kill_all(self.scratch.path()) {
            tracing::error!(%error, "processes may be left");
        }
    }
}

async fn swarm(dir: &Path, line: &str) -> Result<String> {
    let words: Vec<_> = line.split(' ').collect();
    Swarm::at(dir, &words).run().await?.ok().with_context(|| format!("swarm {line}"))
}

async fn info(dir: &Path) -> Result<Info> {
    let shown = swarm(dir, "info").await?;
    serde_json::from_str(&shown).with_context(|| format!("swarm info said {shown}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_starts_a_cluster_loses_its_leader_and_goes_on() -> Result<()> {
    let nodes = Nodes { scratch: tempfile::Builder::new().prefix("swarm-").tempdir()? };
    let [a, b, c] = ["A", "B", "C"].map(|name| nodes.dir(name));
    let block = Block::take();
    let first = block.ip(0)?;

    let said = swarm(&a, &format!("init --advertise-addr {first}")).await?;
    ensure!(said.matches("swarm join --token SWMTKN-1-").count() == 2, "init said {said}");
    let token = swarm(&a, "join-token manager -q").await?;
    for (number, dir) in [(1, &b), (2, &c)] {
        let own = block.node(number)?;
        let join = format!("join --token {} --listen-addr {own} {first}:2377", token.trim());
        swarm(dir, &join).await?;
    }
    let create = [
        "service",
        "create",
        "--name",
        "web",
        "--replicas",
        "6",
        "--runtime",
        "process",
        "--",
        "/bin/sh",
        "-c",
        "while :; do date; sleep 1; done",
    ];
    Swarm::at(&a, &create).run().await?.ok()?;
    let shown = swarm(&b, "service ps web").await?;
    ensure!(shown.matches("Running").count() >= 6, "service ps shows {shown}");
    let shown = swarm(&c, "service ls").await?;
    ensure!(shown.contains("6/6"), "service ls shows {shown}");
    wait_until("lines of all tasks", SOON, async || {
        let lines = swarm(&c, "service logs web").await.ok()?;
        (1..=6).all(|slot| lines.contains(&format!("web.{slot}"))).then_some(())
    })
    .await?;

    wait_until("three voters", SOON, async || info(&c).await.ok().filter(|it| it.voter)).await?;
    wait_until("three voters", SOON, async || info(&b).await.ok().filter(|it| it.voter)).await?;
    let leader = info(&b).await?.leader.context("no leader")?;
    let mut all = Vec::new();
    for dir in [&a, &b, &c] {
        all.push((info(dir).await?, dir));
    }
    let (dead, _) = all.iter().find(|(it, _)| it.node_id == leader).context("no such node")?;
    let (_, alive) = all.iter().find(|(it, _)| it.node_id != leader).context("no other node")?;
    processes::signal(i32::try_from(dead.daemon_pid)?, Signal::KILL)?;
    swarm(alive, "service scale web=9").await?;
    // Those of the dead node count until it is known to be down; then others take their place.
    wait_until("all nine run", SOON, async || {
        swarm(alive, "service ls").await.ok().filter(|shown| shown.contains("9/9"))
    })
    .await?;
    wait_until("the dead node is shown as down", Duration::from_secs(30), async || {
        swarm(alive, "node ls").await.ok().filter(|shown| shown.contains("Down"))
    })
    .await?;
    swarm(alive, "service rm web").await?;
    swarm(alive, "status").await?;
    Ok(())
}
