//! Nodes join through managers that do not lead, with tokens of every kind, and during an election.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use swarm_chaos::real::{Cluster, Output, Stopwatch, Swarm};
use swarm_model::node::{Availability, Role};
use swarm_node::api::types::{NodeEntry, TokenAnswer, TokenRequest};

use crate::support::fails;

/// A join that meets an election; the command's own patience is 20 s.
const JOINS_WITHIN: Duration = Duration::from_secs(20);

/// `swarm join` at a place, as a person types it, through these nodes.
async fn join(cluster: &Cluster, place: usize, token: &str, through: &[usize]) -> Result<Output> {
    let nodes = cluster.nodes();
    let own = nodes[place].addr.to_string();
    let managers: Vec<_> = through.iter().map(|number| nodes[*number].addr.to_string()).collect();
    let mut line = vec!["join", "--token", token, "--listen-addr", &own];
    line.extend(managers.iter().map(String::as_str));
    Swarm::at(&nodes[place].dir, &line).run().await
}

async fn limited(
    cluster: &Cluster,
    through: usize,
    ttl_ms: Option<u64>,
    uses: Option<u32>,
) -> Result<String> {
    let wanted = TokenRequest { role: Role::Worker, ttl_ms, uses };
    let made: TokenAnswer = cluster.client(through).post("/v1/tokens", &wanted).await?;
    Ok(made.token)
}

/// Expects a refusal that says `word`, and nothing left of the attempt.
async fn refused(
    cluster: &Cluster,
    place: usize,
    token: &str,
    follower: usize,
    word: &str,
) -> Result<()> {
    fails(&join(cluster, place, token, &[follower]).await?, 1, word)?;
    let dir = &cluster.nodes()[place].dir;
    ensure!(!dir.exists(), "a refused join left {}", dir.display());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_lets_nodes_in_and_names_what_is_wrong_with_a_token() -> Result<()> {
    let mut cluster = Cluster::start(3, 0).await?;
    let leader = cluster.leader().await?;
    let (follower, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let good = cluster.token(Role::Worker).await?;
    let place = cluster.len();
    cluster.add_place()?;

    let mut wrong = good.clone();
    let last = wrong.pop();
    wrong.push(if last == Some('0') { '1' } else { '0' });
    refused(&cluster, place, &wrong, follower, "does not know this join token").await?;
    let short = limited(&cluster, other, Some(1), None).await?;
    refused(&cluster, place, &short, follower, "the join token expired at").await?;

    let once = limited(&cluster, follower, Some(3_600_000), Some(1)).await?;
    join(&cluster, place, &once, &[follower]).await?.ok()?;
    let next = cluster.len();
    cluster.add_place()?;
    refused(&cluster, next, &once, follower, "the join token is used up").await?;
    cluster.client(follower).post::<Value>("/v1/tokens/worker/rotate", &Value::Null).await?;
    refused(&cluster, next, &good, follower, "the join token was replaced").await?;

    let good = cluster.token(Role::Worker).await?;
    join(&cluster, next, &good, &[follower, other]).await?.ok()?;
    let manager = cluster.len();
    cluster.add_place()?;
    let token = cluster.token(Role::Manager).await?;
    join(&cluster, manager, &token, &[other]).await?.ok()?;
    cluster.settled().await?;
    let nodes: Vec<NodeEntry> = cluster.client(manager).get("/v1/nodes").await?;
    ensure!(nodes.len() == cluster.len(), "refused joins left members: {nodes:?}");
    let active = |entry: &NodeEntry| entry.node.spec.availability == Availability::Active;
    ensure!(nodes.iter().all(active), "{nodes:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_waits_for_the_next_leader() -> Result<()> {
    let mut cluster = Cluster::start(3, 0).await?;
    let token = cluster.token(Role::Worker).await?;
    for with_the_dead in [false, true] {
        let place = cluster.len();
        cluster.add_place()?;
        let dead = cluster.leader().await?;
        let follower = (dead + 1) % 3;
        cluster.node(dead).kill()?;
        let through = if with_the_dead { vec![dead, follower] } else { vec![follower] };
        let watch = Stopwatch::start();
        let joined = join(&cluster, place, &token, &through).await?;
        joined.ok()?;
        ensure!(watch.elapsed() < JOINS_WITHIN, "joined after {:?}", watch.elapsed());
        cluster.node(dead).restart()?;
        cluster.node(dead).serving().await?;
        cluster.settled().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_without_quorum_says_so_and_leaves_nothing() -> Result<()> {
    let mut cluster = Cluster::start(3, 0).await?;
    let token = cluster.token(Role::Worker).await?;
    let leader = cluster.leader().await?;
    for dead in [leader, (leader + 1) % 3] {
        cluster.node(dead).kill()?;
    }
    let place = cluster.len();
    cluster.add_place()?;
    fails(&join(&cluster, place, &token, &[(leader + 2) % 3]).await?, 5, "leader")?;
    let dir = &cluster.nodes()[place].dir;
    ensure!(fs::read_dir(dir).is_err(), "a failed join left {}", dir.display());
    Ok(())
}
