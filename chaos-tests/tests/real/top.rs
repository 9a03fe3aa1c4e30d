//! What tasks do and use, as seen from any node.

use anyhow::{Context as _, Result, ensure};
use swarm_chaos::real::{Cluster, Swarm, spec, wait_until};
use swarm_node::api::TopEntry;
use swarm_node::api::types::Written;

use crate::support::{SOON, fails};

/// Two processes: one that is busy, one that waits.
const BUSY: &str = "sleep 43212 & while :; do :; done";

#[tokio::test(flavor = "multi_thread")]
async fn the_processes_of_all_tasks_are_shown_with_what_they_use() -> Result<()> {
    let mut cluster = Cluster::start(2, 1).await?;
    let busy = spec::service("busy", 3, &["/bin/sh", "-c", BUSY])?;
    cluster.client(0).post::<Written>("/v1/services/create", &busy).await?;
    cluster.converged(0, "busy", SOON).await?;
    let mut client = cluster.client(1);
    wait_until("both processes of each task are seen", SOON, async || {
        let all: Vec<TopEntry> = client.get("/v1/services/busy/top").await.ok()?;
        let whole = |entry: &TopEntry| {
            let [shell, sleeper] = entry.processes.as_slice() else { return false };
            let (shell, sleeper) = match shell.command.starts_with("sleep") {
                true => (sleeper, shell),
                false => (shell, sleeper),
            };
            sleeper.command == "sleep 43212"
                && sleeper.parent == shell.pid
                && sleeper.cpu_milli < 10
                && shell.cpu_milli > 50
                && shell.memory > 100 << 10
        };
        let names: Vec<_> = all.iter().map(|entry| entry.name.as_str()).collect();
        (names == ["busy.1", "busy.2", "busy.3"] && all.iter().all(whole)).then_some(())
    })
    .await?;
    let dir = cluster.nodes()[0].dir.clone();
    let shown = Swarm::at(&dir, &["top", "busy.2"]).run().await?.ok()?;
    ensure!(shown.starts_with("TASK") && shown.lines().count() == 3, "top shows {shown}");
    let line = ["top", "--format", "{{.Name}} {{.Command}}"];
    let shown = Swarm::at(&dir, &line).run().await?.ok()?;
    let sleepers = shown.lines().filter(|line| line.ends_with(" sleep 43212"));
    ensure!(shown.lines().count() == 6 && sleepers.count() == 3, "top shows {shown}");
    fails(&Swarm::at(&dir, &["top", "nothing"]).run().await?, 3, "nothing")?;
    // A worker is told of its own tasks only.
    let worker = cluster.nodes()[2].info().await?.node_id;
    let all: Vec<TopEntry> = cluster.client(2).get("/v1/top").await?;
    let told = |entry: &TopEntry| match &entry.error {
        None => entry.node_id == worker && entry.processes.len() == 2,
        Some(why) => entry.node_id != worker && why.contains("only managers"),
    };
    ensure!(all.len() == 3 && all.iter().all(told), "a worker is told {all:?}");
    // A node that does not answer is named; the rest is shown.
    let all: Vec<TopEntry> = cluster.client(0).get("/v1/top").await?;
    let other = cluster.nodes()[0].info().await?.node_id;
    let lost = all.iter().find(|entry| entry.node_id != other).context("there are others")?;
    let number = cluster.number_of(lost.node_id).await?;
    cluster.node(number).kill()?;
    let shown = Swarm::at(&dir, &["top", "--stale", "busy", "--format", "{{.Name}}"]).run().await?;
    ensure!(shown.code == 0 && shown.stderr.contains(&lost.name), "it said {}", shown.stderr);
    ensure!(!shown.stdout.contains(&lost.name) && shown.stdout.contains("busy."), "{shown:?}");
    Ok(())
}
