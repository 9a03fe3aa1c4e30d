//! All daemons die at once and come back.

use anyhow::Result;
use swarm_chaos::invariants::programs;
use swarm_chaos::real::{Cluster, spec};
use swarm_node::api::types::Written;

use crate::support::{Run, SOON};

#[tokio::test(flavor = "multi_thread")]
async fn all_daemons_killed_and_restarted_lose_no_write_and_no_task() -> Result<()> {
    let mut cluster = Cluster::start(3, 0).await?;
    let web = spec::service("web", 6, &spec::STAYS)?;
    cluster.client(1).post::<Written>("/v1/services/create", &web).await?;
    cluster.converged(1, "web", SOON).await?;
    let before = sorted(programs(&cluster, "web")?);
    let run = Run::start(&cluster);
    run.goes_on(20).await?;
    for number in 0..3 {
        cluster.node(number).kill()?;
    }
    // Staggered: the first has to wait for a majority.
    for number in [2, 0, 1] {
        cluster.node(number).restart()?;
    }
    for number in 0..3 {
        cluster.node(number).serving().await?;
    }
    run.goes_on(20).await?;
    run.verify(&cluster, &["web"]).await?;
    assert_eq!(sorted(programs(&cluster, "web")?), before, "the same processes");
    Ok(())
}

fn sorted(programs: Vec<swarm_chaos::invariants::Program>) -> Vec<(usize, i32)> {
    let mut all: Vec<_> = programs.into_iter().map(|it| (it.node, it.pid)).collect();
    all.sort_unstable();
    all
}
