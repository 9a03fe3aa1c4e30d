//! Watches every node while faults happen and holds what it sees against the invariants.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use http::Method;
use swarm_model::meta::Revision;
use swarm_node::api::types::{Info, TaskEntry};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{OneLeaderATerm, StatesGoForward};
use crate::real::{Client, Cluster};

/// Between two looks at all nodes.
const PACE: Duration = Duration::from_millis(100);
/// A node that does not answer is looked at next time.
const PATIENCE: Duration = Duration::from_millis(500);

/// What one node says at one moment.
#[derive(Debug, Clone)]
pub struct Look {
    /// What it is and whom it follows.
    pub info: Info,
    /// The revision of `tasks`.
    pub revision: Revision,
    /// All tasks as it knows them.
    pub tasks: Vec<TaskEntry>,
}

/// A running watch.
#[derive(Debug)]
pub struct Observer {
    watching: JoinSet<Result<usize>>,
    stop: CancellationToken,
}

impl Observer {
    /// Starts to look at all nodes of the cluster.
    pub fn start(cluster: &Cluster) -> Self {
        let clients =
            cluster.nodes().iter().map(|node| node.client().with_patience(PATIENCE)).collect();
        let stop = CancellationToken::new();
        let mut watching = JoinSet::new();
        watching.spawn(watch(clients, stop.clone()));
        Self { watching, stop }
    }

    /// Ends the watch; gives the number of looks.
    ///
    /// # Errors
    /// The first thing seen that must not be, or that nothing was seen at all.
    pub async fn stop(mut self) -> Result<usize> {
        self.stop.cancel();
        let looks = self.watching.join_next().await.context("no watch")?.context("panicked")??;
        if looks == 0 {
            bail!("no node ever answered the watch");
        }
        Ok(looks)
    }
}

async fn watch(mut clients: Vec<Client>, stop: CancellationToken) -> Result<usize> {
    let (mut leaders, mut forward) = (OneLeaderATerm::default(), StatesGoForward::default());
    let mut looks = 0;
    while !stop.is_cancelled() {
        for (number, client) in clients.iter_mut().enumerate() {
            let Ok(look) = look(client).await else { continue };
            looks += 1;
            let seen = leaders.see(&look).and_then(|()| forward.see(&look));
            seen.map_err(|wrong| anyhow::anyhow!("node {number}: {wrong}"))?;
        }
        sleep(PACE).await;
    }
    Ok(looks)
}

async fn look(client: &mut Client) -> Result<Look> {
    let info = client.get("/v1/info").await?;
    let reply = client.send(Method::GET, "/v1/tasks?stale=true", Vec::new()).await?;
    let revision = reply.headers.get("swarm-revision").context("no revision")?;
    let revision = Revision(revision.to_str()?.parse()?);
    Ok(Look { info, revision, tasks: reply.json()? })
}
