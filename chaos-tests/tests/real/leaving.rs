//! Nodes leave, again and again: `swarm leave` returns by itself, nothing stays behind, tasks move.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use swarm_chaos::real::{Cluster, Stopwatch, Swarm, spec, wait_until};
use swarm_model::node::{Availability, Role};
use swarm_node::api::types::{NodeEntry, Written};

use crate::support::{LONG, SOON, fails};

/// Far below the command's own deadline of minutes; moving tasks is quick with these.
const LEAVES_WITHIN: Duration = Duration::from_secs(15);

/// `swarm leave` at a node; checks that it left, as it sees it itself.
async fn leave(cluster: &mut Cluster, number: usize, options: &[&str]) -> Result<()> {
    let dir = cluster.nodes()[number].dir.clone();
    let line: Vec<_> = ["leave"].iter().chain(options).copied().collect();
    let watch = Stopwatch::start();
    let said = Swarm::at(&dir, &line).run().await?.ok()?;
    let took = watch.elapsed();
    ensure!(took < LEAVES_WITHIN, "the leave of node {number} took {took:?}");
    ensure!(said.contains("left the cluster"), "leave said {said}");
    let left = fs::read_dir(&dir).context("the directory itself stays")?.count();
    ensure!(left == 0, "{left} files are left in {}", dir.display());
    if cluster.node(number).pid().is_some() {
        let status = cluster.node(number).ended().await?;
        ensure!(status.success(), "the daemon of node {number}: {status}");
    }
    Ok(())
}

/// A node leaves, another one knows at once, and it joins again as a new node.
async fn leave_and_come_back(
    cluster: &mut Cluster,
    number: usize,
    witness: usize,
    role: Role,
) -> Result<()> {
    let id = cluster.nodes()[number].info().await?.node_id;
    leave(cluster, number, &[]).await?;
    let nodes: Vec<NodeEntry> = cluster.client(witness).get("/v1/nodes").await?;
    ensure!(nodes.len() == cluster.len() - 1, "{nodes:?}");
    ensure!(nodes.iter().all(|entry| entry.node.id != id), "{id} is still listed");

    let dir = cluster.nodes()[number].dir.clone();
    let token = Swarm::at(&cluster.nodes()[witness].dir, &["join-token", &role.to_string(), "-q"]);
    let token = token.run().await?.ok()?;
    let own = cluster.nodes()[number].addr.to_string();
    let through = cluster.nodes()[witness].addr.to_string();
    let join = ["join", "--token", token.trim(), "--listen-addr", &own, &through];
    Swarm::at(&dir, &join).run().await?.ok()?;
    let again = cluster.nodes()[number].info().await?.node_id;
    ensure!(again != id, "who left comes back as a new node");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_leaves_again_and_again_and_its_tasks_move() -> Result<()> {
    let mut cluster = Cluster::start(1, 1).await?;
    let web = spec::service("web", 8, &spec::STAYS)?;
    cluster.client(0).post::<Written>("/v1/services/create", &web).await?;
    cluster.converged(0, "web", SOON).await?;
    let moved = !cluster.nodes()[1].task_processes()?.is_empty();
    ensure!(moved, "the worker had no task");
    for _ in 0..5 {
        leave_and_come_back(&mut cluster, 1, 0, Role::Worker).await?;
    }
    cluster.converged(0, "web", LONG).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_leaves_again_and_again() -> Result<()> {
    let mut cluster = Cluster::start(3, 0).await?;
    for _ in 0..4 {
        let leader = cluster.leader().await?;
        let (follower, witness) = ((leader + 1) % 3, (leader + 2) % 3);
        leave_and_come_back(&mut cluster, follower, witness, Role::Manager).await?;
    }
    cluster.settled().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_leaves_again_and_again() -> Result<()> {
    let mut cluster = Cluster::start(3, 0).await?;
    for _ in 0..4 {
        let leader = cluster.leader().await?;
        leave_and_come_back(&mut cluster, leader, (leader + 1) % 3, Role::Manager).await?;
    }
    cluster.settled().await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_leave_one_after_another_and_the_last_one_by_force() -> Result<()> {
    let mut cluster = Cluster::start(3, 0).await?;
    let web = spec::service("web", 6, &spec::STAYS)?;
    cluster.client(0).post::<Written>("/v1/services/create", &web).await?;
    cluster.converged(0, "web", SOON).await?;
    leave(&mut cluster, 2, &[]).await?;
    leave(&mut cluster, 0, &[]).await?;
    let last = cluster.nodes()[1].dir.clone();
    fails(&Swarm::at(&last, &["leave"]).run().await?, 1, "this is the last manager")?;
    cluster.converged(1, "web", SOON).await?;
    leave(&mut cluster, 1, &["--force"]).await?;
    for node in cluster.nodes() {
        ensure!(node.task_processes()?.is_empty(), "tasks of {} go on", node.dir.display());
    }
    Ok(())
}

/// They hand each other the lead, and the one that is left over must take tasks again.
#[tokio::test(flavor = "multi_thread")]
async fn of_managers_that_all_leave_at_once_one_stays_as_it_was() -> Result<()> {
    let cluster = Cluster::start(3, 0).await?;
    let leaves = cluster.nodes().iter().map(|node| {
        let dir = node.dir.clone();
        async move { Swarm::at(&dir, &["leave"]).run().await }
    });
    let mut stays = None;
    for (number, output) in futures::future::join_all(leaves).await.into_iter().enumerate() {
        if let Err(refused) = output?.ok() {
            let said = format!("{refused:#}");
            ensure!(said.contains("this is the last manager"), "node {number}: {said}");
            ensure!(stays.replace(number).is_none(), "two nodes stayed");
        }
    }
    let number = stays.context("nobody stayed")?;
    let nodes: Vec<NodeEntry> = cluster.client(number).get("/v1/nodes").await?;
    let spec = nodes.iter().map(|entry| entry.node.spec.clone()).collect::<Vec<_>>();
    ensure!(spec.len() == 1, "{nodes:?}");
    ensure!(spec[0].availability == Availability::Active, "{spec:?}");
    ensure!(spec[0].role == Role::Manager, "{spec:?}");
    Ok(())
}

/// Its leader dies while tasks that do not end hold up the leave: it may lead itself then.
#[tokio::test(flavor = "multi_thread")]
async fn a_leave_goes_on_when_the_leader_dies() -> Result<()> {
    let mut cluster = Cluster::start(3, 0).await?;
    let deaf = ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"];
    let web = spec::service("web", 3, &deaf)?;
    cluster.client(0).post::<Written>("/v1/services/create", &web).await?;
    cluster.converged(0, "web", SOON).await?;
    let leader = cluster.leader().await?;
    let leaving = (leader + 1) % 3;
    let dir = cluster.nodes()[leaving].dir.clone();
    let id = cluster.nodes()[leaving].info().await?.node_id;
    let witness = (leader + 2) % 3;
    let line = ["leave"];
    let command = Swarm::at(&dir, &line);
    let kill = async {
        wait_until("the leave is under way", SOON, async || {
            let nodes: Vec<NodeEntry> = cluster.client(witness).get("/v1/nodes").await.ok()?;
            let node = nodes.into_iter().find(|entry| entry.node.id == id)?;
            (node.node.spec.availability == Availability::Drain).then_some(())
        })
        .await?;
        cluster.node(leader).kill()
    };
    let (said, killed) = tokio::join!(command.run(), kill);
    killed?;
    said?.ok()?;
    let nodes: Vec<NodeEntry> = cluster.client(witness).get("/v1/nodes").await?;
    ensure!(nodes.iter().all(|entry| entry.node.id != id), "{id} is still listed");
    Ok(())
}
