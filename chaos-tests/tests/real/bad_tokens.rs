//! Join tokens that are wrong: refused for their reason, nothing left behind, the cluster unmoved.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use swarm_chaos::real::{Cluster, Swarm};
use swarm_model::node::Role;

use crate::support::{alive, fails};

/// `token` with another last character in its `part`-th part.
fn spoiled(token: &str, part: usize) -> String {
    let mut parts: Vec<String> = token.split('-').map(str::to_owned).collect();
    let last = parts[part].pop();
    parts[part].push(if last == Some('0') { '1' } else { '0' });
    parts.join("-")
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_tokens_let_nobody_in_and_leave_nothing() -> Result<()> {
    let mut cluster = Cluster::start(1, 0).await?;
    let token = cluster.token(Role::Worker).await?;
    let manager = cluster.nodes()[0].addr.to_string();
    let place = cluster.add_place()?;
    let (dir, addr) = (place.dir.clone(), place.addr.to_string());
    let join = async |token: &str, manager: &str| {
        let join = ["join", "--token", token, "--listen-addr", &addr, manager];
        Swarm::at(&dir, &join).run().await
    };
    fails(&join("SWMTKN-1-nonsense", &manager).await?, 2, "token")?;
    fails(&join(&spoiled(&token, 2), &manager).await?, 1, "")?;
    fails(&join(&spoiled(&token, 3), &manager).await?, 1, "token")?;
    let nobody = addr.replace(":2377", ":2399");
    let output = join(&token, &nobody).await?;
    ensure!(output.code == 1 || output.code == 5, "exit code {}: {}", output.code, output.stderr);
    ensure!(output.stderr.contains(&nobody), "it does not say whom it asked: {}", output.stderr);
    ensure!(!dir.exists(), "a failed join left {}", dir.display());

    let mut client = cluster.client(0);
    let nodes: Vec<Value> = alive(&mut client, "/v1/nodes").await?;
    ensure!(nodes.len() == 1, "a node without token is listed");
    client.post::<Value>("/v1/tokens/worker/rotate", &Value::Null).await.context("rotate")?;
    fails(&join(&token, &manager).await?, 1, "token")?;
    let token = cluster.token(Role::Worker).await?;
    join(&token, &manager).await?.ok()?;
    let again = join(&token, &manager).await?;
    ensure!(again.code != 0 && again.stderr.contains("already"), "{again:?}");
    swarm_chaos::real::processes::kill_all(&dir)
}
