//! What `swarm plan` foretells is what real daemons then do, and a plan that does not hold is refused.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use swarm_chaos::real::{Cluster, Output, Swarm, wait_until};
use swarm_model::id::NodeId;
use swarm_model::task_state::DesiredState;
use swarm_node::api::types::{Forecast, ServiceEntry, StepKind, TaskEntry};

use crate::support::{LONG, SOON, fails};

/// The forecast of a command, asked of node `number`, and the command that makes it so.
async fn plan(cluster: &Cluster, number: usize, line: &str) -> Result<(Forecast, Vec<String>)> {
    let output = swarm(cluster, number, &format!("plan {line} --format json")).await?;
    let said = output.ok()?;
    let apply: serde_json::Value = serde_json::from_str(&said)?;
    let apply = apply["Apply"].as_str().context("no command")?;
    let words = apply.split(' ').skip(1).map(str::to_owned).collect();
    Ok((serde_json::from_str(&said)?, words))
}

async fn swarm(cluster: &Cluster, number: usize, line: &str) -> Result<Output> {
    let words: Vec<_> = line.split(' ').collect();
    Swarm::at(&cluster.nodes()[number].dir, &words).run().await
}

/// Runs a command as a plan gives it.
async fn make(words: &[String]) -> Result<Output> {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    Swarm::new(&words).run().await
}

/// Where the wanted tasks of a service are, by name.
async fn places(cluster: &Cluster, service: &str) -> Result<BTreeMap<String, Option<NodeId>>> {
    let tasks: Vec<TaskEntry> = cluster.wanted_tasks(0, service).await?;
    let wanted = tasks.into_iter().filter(|entry| entry.task.desired == DesiredState::Running);
    Ok(wanted.map(|entry| (entry.name, entry.task.node)).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plan_foretells_is_what_its_command_then_does() -> Result<()> {
    let cluster = Cluster::start(3, 1).await?;
    let options = "service create --name web --replicas 6 --update-parallelism 0 \
                   --update-monitor 200ms --monitor 0s --runtime process -- /bin/sleep 86400";
    swarm(&cluster, 0, options).await?.ok()?;
    cluster.converged(0, "web", LONG).await?;
    // One that does not lead, and a worker, which asks on behalf of whoever asks it.
    for (number, line, kind) in [
        (1, "service scale web=8", StepKind::Start),
        (3, "service update --env-add A=1 web", StepKind::Replace),
        (2, "node update --availability drain self", StepKind::Move),
    ] {
        let before = places(&cluster, "web").await?;
        let (told, apply) = plan(&cluster, number, line).await?;
        ensure!(told.finished && told.is_well(), "{told:?}");
        ensure!(told.steps.iter().all(|step| step.kind == kind), "{line}: {told:?}");
        ensure!(!told.steps.is_empty() && told.left_out == 0, "{line}: {told:?}");
        ensure!(places(&cluster, "web").await? == before, "a plan changes nothing");
        let mut expect = before;
        for step in &told.steps {
            expect.insert(step.name.clone(), step.to.as_ref().map(|place| place.id));
        }
        make(&apply).await?.ok().context(line)?;
        let mut last = BTreeMap::new();
        let same = wait_until("all tasks are where they were foretold", SOON, async || {
            last = places(&cluster, "web").await.ok()?;
            (last == expect).then_some(())
        });
        same.await.with_context(|| format!("{line}: {expect:?}, not {last:?}"))?;
        cluster.converged(0, "web", LONG).await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_somebody_overtook_is_refused_and_nothing_is_changed() -> Result<()> {
    let cluster = Cluster::start(3, 0).await?;
    let create = "service create --detach --name web --runtime process -- /bin/sleep 86400";
    swarm(&cluster, 0, create).await?.ok()?;
    cluster.converged(0, "web", SOON).await?;
    let (_, apply) = plan(&cluster, 1, "service scale web=2").await?;
    swarm(&cluster, 2, "node update --label-add zone=a self").await?.ok()?;
    let refused = make(&apply).await?;
    fails(&refused, 4, "what was seen then does not hold")?;
    let entry: ServiceEntry = cluster.client(0).get("/v1/services/web").await?;
    ensure!(entry.service_status.desired_tasks == 1, "{entry:?}");
    let (_, apply) = plan(&cluster, 1, "service scale web=2").await?;
    make(&apply).await?.ok()?;
    fails(&make(&apply).await?, 4, "look again, with `swarm plan`")
}
