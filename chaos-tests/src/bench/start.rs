//! `swarm init` until the node serves; `swarm join` until the cluster has the node as ready.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use swarm_model::node::Reachability;
use swarm_net::task::TaskGroup;
use swarm_node::api::types::{NodeEntry, TokenAnswer};

use super::report::{Report, Row};
use super::samples::Samples;
use crate::real::{self, Block, Client, Stopwatch, Swarm, processes, wait_until};

const INIT_TARGET: Duration = Duration::from_millis(300);
const JOIN_TARGET: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_secs(20);

/// Kills the daemon of a directory when dropped.
struct Background<'a>(&'a Path);

impl Drop for Background<'_> {
    fn drop(&mut self) {
        if let Err(error) = processes::kill_all(self.0) {
            tracing::error!(%error, "a daemon may be left");
        }
    }
}

/// Adds the rows.
pub(super) async fn run(runs: usize, report: &mut Report) -> Result<()> {
    let (mut raw, mut init, mut join) = (Samples::new(), Samples::new(), Samples::new());
    for _ in 0..runs {
        raw.push(bare_start()?);
        let (initialized, joined) = once().await?;
        init.push(initialized);
        join.push(joined);
    }
    let limit = ("exec of the binary", raw.median());
    report.add(Row::span("swarm init → serving", init.median(), limit, INIT_TARGET));
    report.add(Row::span("swarm join → Ready", join.median(), limit, JOIN_TARGET));
    Ok(())
}

/// What starting the program costs when it does nothing.
fn bare_start() -> Result<Duration> {
    let watch = Stopwatch::start();
    let status = Command::new(real::swarm()?).arg("--version").stdout(Stdio::null()).status()?;
    ensure!(status.success(), "swarm --version: {status}");
    Ok(watch.elapsed())
}

/// One cluster of two nodes, made by the commands that people use.
async fn once() -> Result<(Duration, Duration)> {
    let scratch = tempfile::Builder::new().prefix("swarm-").tempdir()?;
    let (a, b) = (scratch.path().join("a"), scratch.path().join("b"));
    let (_a, _b) = (Background(&a), Background(&b));
    let block = Block::take();
    let (first, second) = (block.node(0)?.to_string(), block.node(1)?.to_string());
    let tasks = TaskGroup::new();
    let mut client = Client::new(&a.join("swarm.sock"), tasks);

    let watch = Stopwatch::start();
    let init = ["init", "--listen-addr", &first, "--advertise-addr", &first];
    Swarm::at(&a, &init).run().await?.ok()?;
    client.get::<serde_json::Value>("/v1/nodes").await.context("serving")?;
    let initialized = watch.elapsed();

    let token: TokenAnswer = client.get("/v1/tokens/manager").await?;
    let watch = Stopwatch::start();
    let join = ["join", "--token", &token.token, "--listen-addr", &second, &first];
    Swarm::at(&b, &join).run().await?.ok()?;
    wait_until("the node is ready", PATIENCE, async || {
        let nodes: Vec<NodeEntry> = client.get("/v1/nodes").await.ok()?;
        let ready = |entry: &&NodeEntry| entry.node.status.reachability == Reachability::Ready;
        (nodes.iter().filter(ready).count() == 2).then_some(())
    })
    .await?;
    Ok((initialized, watch.elapsed()))
}
