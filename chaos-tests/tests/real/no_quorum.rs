//! Two of three daemons are dead: reads go on and say so, writes fail fast and say why.

use std::time::Duration;

use anyhow::{Result, ensure};
use http::Method;
use swarm_chaos::real::{Cluster, Stopwatch, Swarm, spec};
use swarm_node::api::types::Written;

use crate::support::{SOON, fails, refused};

/// How long a write may take to fail without a quorum.
const FAILS_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn without_quorum_tasks_go_on_reads_are_stale_and_writes_fail_fast() -> Result<()> {
    let mut cluster = Cluster::start(3, 0).await?;
    let web = spec::service("web", 3, &spec::STAYS)?;
    cluster.client(0).post::<Written>("/v1/services/create", &web).await?;
    cluster.converged(0, "web", SOON).await?;
    cluster.node(1).kill()?;
    cluster.node(2).kill()?;

    let mut client = cluster.client(0);
    let watch = Stopwatch::start();
    let write = client.post::<Written>("/v1/configs/create", &spec::config("c", b"1")?).await;
    refused(write, "no_quorum", "swarm recover")?;
    ensure!(watch.elapsed() <= FAILS_WITHIN, "refused after {:?}", watch.elapsed());

    let watch = Stopwatch::start();
    let read = client.send(Method::GET, "/v1/services/web", Vec::new()).await?;
    ensure!(read.status.is_success() && read.is_stale(), "{read:?}");
    ensure!(read.headers.contains_key("swarm-leader-silent-ms"), "it does not say how stale");
    ensure!(watch.elapsed() < Duration::from_secs(4), "read took {:?}", watch.elapsed());
    // It may exist by now, for all that this node knows.
    let missing = client.send(Method::GET, "/v1/configs/nowhere", Vec::new()).await?;
    ensure!(missing.status == 404 && missing.is_stale(), "{missing:?}");

    let dir = cluster.nodes()[0].dir.clone();
    let watch = Stopwatch::start();
    let scale = Swarm::at(&dir, &["service", "scale", "web=9"]).run().await?;
    fails(&scale, 5, "quorum")?;
    fails(&scale, 5, "swarm recover")?;
    ensure!(watch.elapsed() <= FAILS_WITHIN, "scale took {:?}", watch.elapsed());
    let shown = Swarm::at(&dir, &["node", "ls"]).run().await?.ok()?;
    let dead = shown.matches("Unknown").count();
    ensure!(dead == 2 && !shown.contains("Leader"), "node ls shows {shown}");
    let shown = Swarm::at(&dir, &["status"]).run().await?.ok()?;
    ensure!(shown.contains("1 ready, 0 down, 2 unknown"), "status shows {shown}");
    ensure!(swarm_chaos::invariants::programs(&cluster, "web")?.len() == 3, "tasks ended");

    cluster.node(1).restart()?;
    cluster.node(2).restart()?;
    cluster.node(1).serving().await?;
    cluster.node(2).serving().await?;
    cluster.settled().await?;
    client.post::<Written>("/v1/configs/create", &spec::config("d", b"1")?).await?;
    Ok(())
}
