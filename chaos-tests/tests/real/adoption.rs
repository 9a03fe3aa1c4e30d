//! A daemon dies and comes back; its tasks never notice.

use anyhow::{Result, ensure};
use swarm_chaos::invariants::{no_orphans, programs, removed_services_are_gone};
use swarm_chaos::real::{Cluster, spec};
use swarm_node::api::types::Written;

use crate::support::SOON;

#[tokio::test(flavor = "multi_thread")]
async fn killed_daemon_finds_its_tasks_again_with_the_same_processes() -> Result<()> {
    let mut cluster = Cluster::start(1, 0).await?;
    let web = spec::service("web", 4, &spec::STAYS)?;
    cluster.client(0).post::<Written>("/v1/services/create", &web).await?;
    cluster.converged(0, "web", SOON).await?;
    let mut before = programs(&cluster, "web")?;
    ensure!(before.len() == 4, "{before:?}");
    for _ in 0..3 {
        cluster.node(0).kill()?;
        ensure!(programs(&cluster, "web")?.len() == 4, "tasks died with the daemon");
        cluster.node(0).restart()?;
        cluster.node(0).serving().await?;
        cluster.converged(0, "web", SOON).await?;
        no_orphans(&cluster, 0, "web", SOON).await?;
    }
    let mut after = programs(&cluster, "web")?;
    before.sort_unstable_by_key(|it| it.pid);
    after.sort_unstable_by_key(|it| it.pid);
    assert_eq!(before, after, "adopted, not doubled or restarted");
    // What was adopted still obeys.
    cluster.client(0).delete("/v1/services/web").await?;
    removed_services_are_gone(&cluster, "web").await
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_daemon_leaves_its_tasks_running() -> Result<()> {
    let mut cluster = Cluster::start(1, 0).await?;
    let web = spec::service("web", 2, &spec::STAYS)?;
    cluster.client(0).post::<Written>("/v1/services/create", &web).await?;
    cluster.converged(0, "web", SOON).await?;
    let before = programs(&cluster, "web")?;
    let status = cluster.node(0).stop().await?;
    ensure!(status.success(), "the daemon ended with {status}");
    assert_eq!(programs(&cluster, "web")?, before);
    cluster.node(0).restart()?;
    cluster.node(0).serving().await?;
    cluster.converged(0, "web", SOON).await?;
    assert_eq!(programs(&cluster, "web")?, before);
    Ok(())
}
