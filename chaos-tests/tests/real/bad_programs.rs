//! Programs that do not exist or die at once: the task says why, the node goes on.

use anyhow::Result;
use serde_json::Value;
use swarm_chaos::real::{Cluster, encode, spec, wait_until};
use swarm_model::task_state::ObservedState;
use swarm_node::api::types::{TaskEntry, Written};

use crate::support::{SOON, alive};

async fn fate(program: &[&str], state: ObservedState, word: &str) -> Result<()> {
    let cluster = Cluster::start(1, 0).await?;
    let mut client = cluster.client(0);
    let bad = spec::service("bad", 1, program)?;
    client.post::<Written>("/v1/services/create", &bad).await?;
    let target = format!("/v1/tasks?filters={}", encode(r#"{"service":["bad"]}"#));
    let mut last = String::new();
    wait_until("the task says what happened", SOON, async || {
        let tasks: Vec<TaskEntry> = client.get(&target).await.ok()?;
        last = format!("{:?}", tasks.iter().map(|it| &it.task.status).collect::<Vec<_>>());
        let told = |it: &&TaskEntry| {
            let status = &it.task.status;
            status.state == state && format!("{} {}", status.message, status.error).contains(word)
        };
        // It is tried again, later and later.
        (tasks.iter().any(|it| told(&it)) && tasks.len() > 1).then_some(())
    })
    .await
    .map_err(|error| error.context(last))?;
    alive::<Vec<Value>>(&mut client, "/v1/nodes").await?;
    client.delete("/v1/services/bad").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn program_that_does_not_exist_is_named() -> Result<()> {
    fate(&["/no/such/program"], ObservedState::Rejected, "/no/such/program").await
}

#[tokio::test(flavor = "multi_thread")]
async fn program_that_fails_at_once_shows_its_exit_code() -> Result<()> {
    fate(&["/bin/sh", "-c", "exit 3"], ObservedState::Failed, "3").await
}
