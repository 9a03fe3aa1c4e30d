//! Programs that do not exist or die at once: the task says why, the node goes on.

use anyhow::{Result, ensure};
use serde_json::Value;
use swarm_chaos::real::{Cluster, Output, Swarm, encode, spec, wait_until};
use swarm_model::task_state::ObservedState;
use swarm_node::api::types::{TaskEntry, Written};

use crate::support::{SOON, alive, fails};

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

/// `service create` of a program, with these options before it.
async fn create(cluster: &Cluster, options: &str, program: &str) -> Result<Output> {
    let line = format!("service create --name bad {options} --runtime process -- {program}");
    let words: Vec<_> = line.split_whitespace().collect();
    Swarm::at(&cluster.nodes()[0].dir, &words).run().await
}

#[tokio::test(flavor = "multi_thread")]
async fn program_that_ends_well_again_and_again_is_said_while_it_is_waited_for() -> Result<()> {
    let cluster = Cluster::start(1, 0).await?;
    let output = create(&cluster, "--timeout 5s", "/bin/true").await?;
    fails(&output, 124, "exit code 0; it is started again each time")?;
    let shown = Swarm::at(&cluster.nodes()[0].dir, &["service", "ps", "bad"]).run().await?.ok()?;
    ensure!(shown.contains("Complete"), "service ps shows {shown}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn program_whose_restarts_are_used_up_ends_the_wait() -> Result<()> {
    let cluster = Cluster::start(1, 0).await?;
    let output = create(&cluster, "--restart-max-attempts 1", "/bin/false").await?;
    fails(&output, 1, "not restarted: its restarts are used up (at most 1)")?;
    let dir = &cluster.nodes()[0].dir;
    let shown = Swarm::at(dir, &["service", "ps", "bad", "--no-trunc"]).run().await?.ok()?;
    ensure!(shown.contains("used up") && !shown.contains("Running"), "service ps shows {shown}");
    Ok(())
}
