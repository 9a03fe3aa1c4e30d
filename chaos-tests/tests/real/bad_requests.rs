//! Requests that are wrong: each refused for its reason, nothing half-done, the daemon alive.

use anyhow::{Result, ensure};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use swarm_chaos::real::{Cluster, Swarm, spec};
use swarm_model::placement::Constraint;
use swarm_model::units::{Bytes, MilliCpu};
use swarm_node::api::types::{ServiceEntry, TaskEntry, Written};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{SOON, alive, fails, refused};

#[tokio::test(flavor = "multi_thread")]
async fn wrong_names_and_rules_are_refused_and_change_nothing() -> Result<()> {
    let cluster = Cluster::start(1, 0).await?;
    let mut client = cluster.client(0);
    let config = spec::config("taken", b"1")?;
    client.post::<Written>("/v1/configs/create", &config).await?;
    let again = client.post::<Written>("/v1/configs/create", &config).await;
    refused(again, "name_taken", "taken")?;
    let web = spec::service("web", 0, &spec::STAYS)?;
    client.post::<Written>("/v1/services/create", &web).await?;
    refused(client.post::<Written>("/v1/services/create", &web).await, "name_taken", "web")?;

    for target in ["services", "configs", "nodes", "tasks"] {
        let missing = client.get::<Value>(&format!("/v1/{target}/nowhere")).await;
        refused(missing, "not_found", "nowhere")?;
    }
    for name in ["", "-x", "a b", "ä", &"x".repeat(64)] {
        let mut spec = serde_json::to_value(&web)?;
        spec["Name"] = json!(name);
        let answer = client.post::<Written>("/v1/services/create", &spec).await;
        refused(answer, "invalid", "")?;
    }
    for constraint in ["node.color==red", "node.role", "node.role=~x", "node.role=="] {
        let mut spec = serde_json::to_value(&web)?;
        spec["Name"] = json!("other");
        spec["TaskTemplate"]["Placement"] = json!({"Constraints": [constraint]});
        let answer = client.post::<Written>("/v1/services/create", &spec).await;
        refused(answer, "invalid", "")?;
    }
    let reply = client.send(Method::POST, "/v1/services/create", b"{\"Name\":".to_vec()).await?;
    refused(reply.json::<Value>(), "invalid", "body")?;
    let services: Vec<ServiceEntry> = alive(&mut client, "/v1/services").await?;
    ensure!(services.len() == 1, "something was half-done: {services:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_with_wrong_names_fail_with_their_exit_code() -> Result<()> {
    let cluster = Cluster::start(1, 0).await?;
    let dir = cluster.nodes()[0].dir.clone();
    let run = async |arguments: &[&str]| Swarm::at(&dir, arguments).run().await;
    let create =
        ["service", "create", "-d", "--name", "web", "--runtime", "process", "--", "/bin/true"];
    run(&create).await?.ok()?;
    fails(&run(&create).await?, 4, "web")?;
    fails(&run(&["service", "ps", "nowhere"]).await?, 3, "nowhere")?;
    fails(&run(&["service", "rm", "nowhere"]).await?, 3, "nowhere")?;
    fails(&run(&["service", "scale", "web=many"]).await?, 2, "many")?;
    fails(&run(&["node", "inspect", "nowhere"]).await?, 3, "nowhere")?;
    fails(&run(&["config", "inspect", "nowhere"]).await?, 3, "nowhere")?;
    fails(&run(&["node", "update", "--availability", "gone", "self"]).await?, 2, "gone")?;
    let constrained = [
        "service",
        "create",
        "--constraint",
        "color=red",
        "--runtime",
        "process",
        "--",
        "/bin/true",
    ];
    fails(&run(&constrained).await?, 2, "color=red")
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_that_fit_nowhere_say_why() -> Result<()> {
    let cluster = Cluster::start(1, 0).await?;
    let mut client = cluster.client(0);
    let mut huge = spec::service("huge", 1, &spec::STAYS)?;
    huge.task_template.resources.reservations.memory = Bytes(1 << 50);
    huge.task_template.resources.reservations.cpu = MilliCpu(1);
    let written: Written = client.post("/v1/services/create", &huge).await?;
    ensure!(written.warnings.iter().any(|it| it.contains("memory")), "{written:?}");
    let mut picky = spec::service("picky", 1, &spec::STAYS)?;
    picky.task_template.placement.constraints.push("node.labels.a==b".parse::<Constraint>()?);
    let written: Written = client.post("/v1/services/create", &picky).await?;
    ensure!(written.warnings.iter().any(|it| it.contains("node.labels.a")), "{written:?}");
    for (service, word) in [("huge", "memory"), ("picky", "constraint")] {
        swarm_chaos::real::wait_until("the reason is shown", SOON, async || {
            let tasks: Vec<TaskEntry> = cluster.wanted_tasks(0, service).await.ok()?;
            tasks.iter().any(|it| it.task.status.error.contains(word)).then_some(())
        })
        .await?;
        let dir = &cluster.nodes()[0].dir;
        let shown = Swarm::at(dir, &["service", "ps", "--no-trunc", service]).run().await?.ok()?;
        ensure!(shown.contains(word), "service ps does not say why: {shown}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn body_of_100_mebibytes_is_refused_and_the_node_goes_on() -> Result<()> {
    const SIZE: usize = 100 << 20;
    let cluster = Cluster::start(1, 0).await?;
    let mut stream = tokio::net::UnixStream::connect(cluster.nodes()[0].socket()).await?;
    let head = format!(
        "POST /v1/configs/create HTTP/1.1\r\nhost: swarm\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {SIZE}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let (mut from, mut to) = stream.split();
    let chunk = vec![b'x'; 1 << 20];
    let send = async {
        for _ in 0..SIZE / chunk.len() {
            // The node may hang up: that is its right.
            if to.write_all(&chunk).await.is_err() {
                break;
            }
        }
    };
    let receive = async {
        let mut answer = Vec::new();
        from.read_to_end(&mut answer).await.ok();
        String::from_utf8_lossy(&answer).into_owned()
    };
    let ((), answer) = tokio::join!(send, receive);
    ensure!(answer.starts_with("HTTP/1.1 413"), "answered {answer:?}");
    ensure!(answer.contains("too_large"), "answered {answer:?}");

    // The same without saying how much comes.
    let mut client = cluster.client(0);
    let large = spec::config("large", &vec![0; 1100 << 10])?;
    let reply =
        client.send(Method::POST, "/v1/configs/create", serde_json::to_vec(&large)?).await?;
    ensure!(reply.status == StatusCode::BAD_REQUEST, "{reply:?}");
    let configs: Vec<Value> = alive(&mut client, "/v1/configs").await?;
    ensure!(configs.is_empty(), "something was half-done");
    Ok(())
}
