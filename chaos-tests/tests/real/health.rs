//! Tasks that are asked how they are, by real daemons: who is well runs, who is not is restarted, and no
//! probe outlives its time, its task or its daemon.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, ensure};
use swarm_chaos::invariants::{programs, removed_services_are_gone};
use swarm_chaos::real::{Cluster, Swarm, encode, processes, spec, wait_until};
use swarm_model::id::TaskId;
use swarm_model::probe::{Check, HealthState, Probe};
use swarm_model::service::ServiceSpec;
use swarm_model::task_state::ObservedState;
use swarm_model::update::{FailureAction, UpdatePolicy};
use swarm_node::api::types::{ServiceEntry, TaskEntry, Written};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::SOON;

/// Tests that count sleepers.
const TESTS: u32 = 2;

/// Asks often, so that tests are quick.
fn often(check: Check) -> Probe {
    let probe = Probe::new(check);
    Probe { interval_ms: 300, timeout_ms: 300, retries: 3, start_interval_ms: 100, ..probe }
}

fn shell(text: &str) -> Check {
    Check::Command(["/bin/sh", "-c", text].map(str::to_owned).to_vec())
}

/// A service of one program that stays, with a health probe.
fn probed(probe: Probe) -> Result<ServiceSpec> {
    let mut spec = spec::service("web", 1, &spec::STAYS)?;
    spec.task_template.health = Some(probe);
    Ok(spec)
}

async fn create(cluster: &Cluster, spec: &ServiceSpec) -> Result<()> {
    cluster.client(0).post::<Written>("/v1/services/create", spec).await?;
    Ok(())
}

/// Waits until some task of the service is like that.
async fn sees(
    cluster: &Cluster,
    what: &str,
    like: impl Fn(&TaskEntry) -> bool,
) -> Result<TaskEntry> {
    let mut client = cluster.client(0);
    let target = format!("/v1/tasks?filters={}", encode(r#"{"service":["web"]}"#));
    let mut last = String::new();
    wait_until(what, SOON, async || {
        let tasks: Vec<TaskEntry> = client.get(&target).await.ok()?;
        last = format!("{:?}", tasks.iter().map(|it| &it.task.status).collect::<Vec<_>>());
        tasks.into_iter().find(&like)
    })
    .await
    .map_err(|error| error.context(last))
}

fn says(entry: &TaskEntry, word: &str) -> bool {
    entry.task.status.health.as_ref().is_some_and(|health| health.message.contains(word))
}

fn runs(entry: &TaskEntry) -> bool {
    entry.task.is_active() && entry.task.status.state == ObservedState::Running
}

/// A server that answers each request by whether it is well.
async fn server() -> Result<(u16, Arc<AtomicBool>, impl Future<Output = ()>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let (port, well) = (listener.local_addr()?.port(), Arc::new(AtomicBool::new(false)));
    let state = well.clone();
    let serve = async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let line = match state.load(Ordering::Relaxed) {
                true => "HTTP/1.1 204 No Content\r\n\r\n",
                false => "HTTP/1.1 503 Service Unavailable\r\n\r\n",
            };
            let mut asked = [0; 1024];
            drop(stream.read(&mut asked).await);
            drop(stream.write_all(line.as_bytes()).await);
        }
    };
    Ok((port, well, serve))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_runs_once_it_answers_and_is_replaced_when_it_does_not_any_more() -> Result<()> {
    let cluster = Cluster::start(1, 0).await?;
    let (port, well, serve) = server().await?;
    let path = "/healthz".to_owned();
    let spec = probed(Probe { retries: 5, ..often(Check::Http { path, port }) })?;
    let script = async {
        create(&cluster, &spec).await?;
        let waits = sees(&cluster, "why it waits", |it| says(it, "503 Service")).await?;
        ensure!(waits.task.status.state == ObservedState::Starting, "{:?}", waits.task.status);
        well.store(true, Ordering::Relaxed);
        let first = sees(&cluster, "it runs", runs).await?.task;
        let health = first.status.health.as_ref().context("it has a probe")?;
        ensure!((health.status, health.ready) == (HealthState::Healthy, true), "{health:?}");
        well.store(false, Ordering::Relaxed);
        let unhealthy = |it: &TaskEntry| it.task.status.error.starts_with("unhealthy: GET /heal");
        let failed = sees(&cluster, "it is found unhealthy", unhealthy).await?.task;
        ensure!(failed.status.state == ObservedState::Failed, "{:?}", failed.status);
        well.store(true, Ordering::Relaxed);
        sees(&cluster, "another one runs", |it| it.task.id != first.id && runs(it)).await?;
        ensure!(programs(&cluster, "web")?.len() == 1, "the unhealthy one still runs");
        anyhow::Ok(())
    };
    tokio::select! {
        done = script => done,
        () = serve => anyhow::bail!("the server ended"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_takes_connections_is_enough_and_readiness_is_apart() -> Result<()> {
    let cluster = Cluster::start(1, 0).await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let ready = cluster.scratch().join("ready");
    let mut spec = probed(often(Check::Tcp { port: listener.local_addr()?.port() }))?;
    spec.task_template.ready = Some(often(shell(&format!("test -e {}", ready.display()))));
    spec.task_template.drain_delay_ms = 1500;
    create(&cluster, &spec).await?;
    let waits = sees(&cluster, "it runs and is not ready", |it| runs(it) && says(it, "exit code"));
    let waits = waits.await?.task;
    ensure!(!waits.status.is_ready(), "{:?}", waits.status);
    fs::write(&ready, "")?;
    let is_ready = |it: &TaskEntry| it.task.status.is_ready();
    let task = sees(&cluster, "it is ready", is_ready).await?.task;
    ensure!(task.id == waits.id, "it was restarted");
    // Its stop: first no more work, then the signal.
    cluster
        .client(0)
        .post::<Written>("/v1/services/web/update", &{
            let mut none = spec.clone();
            none.mode = swarm_model::service::ServiceMode::Replicated { replicas: 0 };
            none
        })
        .await?;
    let mut drained = false;
    wait_until("it has ended", SOON, async || {
        let runs = programs(&cluster, "web").ok()?;
        let target = format!("/v1/tasks/{}", task.id);
        if let Ok(entry) = cluster.client(0).get::<TaskEntry>(&target).await {
            drained |= !runs.is_empty() && says(&entry, "draining");
        }
        runs.is_empty().then_some(())
    })
    .await?;
    ensure!(drained, "it was stopped without a word");
    Ok(())
}

/// How many processes of the machine sleep for so long.
fn sleepers(seconds: &str) -> Result<usize> {
    let expect = format!("sleep\0{seconds}\0");
    let lines = fs::read_dir("/proc")?.flatten().map(|entry| entry.path().join("cmdline"));
    let lines = lines.map(|path| fs::read(path).unwrap_or_default());
    Ok(lines.filter(|line| line.ends_with(expect.as_bytes())).count())
}

async fn until_sleepers(seconds: &str, what: &str, like: impl Fn(usize) -> bool) -> Result<()> {
    let like = async || sleepers(seconds).ok().filter(|count| like(*count)).map(drop);
    wait_until(what, SOON, like).await
}

/// A probe that is well until the file is there, and then hangs with children.
fn hangs_when(file: &Path, seconds: &str) -> Check {
    let file = file.display();
    shell(&format!(
        "test -e {file} || exit 0; (setsid sleep {seconds} & sleep {seconds}) & \
         trap '' TERM; sleep {seconds}"
    ))
}

/// So long sleeps nothing else on this machine; each test has a number.
fn own_seconds(test: u32) -> String {
    assert!(test < TESTS, "a number of another process' tests");
    format!("{}", 4_000_000_000 - TESTS * std::process::id() - test)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_probe_leaves_nothing_whoever_is_killed_meanwhile() -> Result<()> {
    let mut cluster = Cluster::start(1, 0).await?;
    let (file, seconds) = (cluster.scratch().join("hang"), own_seconds(0));
    let hanging = hangs_when(&file, &seconds);
    let slow = Probe { interval_ms: 1000, timeout_ms: 700, retries: 1000, ..Probe::new(hanging) };
    create(&cluster, &probed(slow)?).await?;
    let first = sees(&cluster, "it runs", runs).await?.task;
    let before = programs(&cluster, "web")?;
    fs::write(&file, "")?;
    for _ in 0..3 {
        until_sleepers(&seconds, "the probe hangs", |count| count == 3).await?;
        until_sleepers(&seconds, "it was killed", |count| count == 0).await?;
    }
    // The daemon dies in the middle of a probe.
    until_sleepers(&seconds, "the probe hangs", |count| count == 3).await?;
    cluster.node(0).kill()?;
    until_sleepers(&seconds, "the probe ended with its daemon", |count| count == 0).await?;
    ensure!(programs(&cluster, "web")? == before, "the task was hurt");
    fs::remove_file(&file)?;
    cluster.node(0).restart()?;
    cluster.node(0).serving().await?;
    let adopted = |it: &TaskEntry| runs(it) && it.task.status.message == "adopted";
    let adopted = sees(&cluster, "it was adopted and is asked again", adopted).await?.task;
    ensure!(adopted.id == first.id, "it was restarted");
    ensure!(programs(&cluster, "web")? == before, "it was restarted");
    // The task is stopped in the middle of a probe.
    fs::write(&file, "")?;
    until_sleepers(&seconds, "the probe hangs", |count| count == 3).await?;
    cluster.client(0).delete("/v1/services/web").await?;
    removed_services_are_gone(&cluster, "web").await?;
    until_sleepers(&seconds, "the probe ended with its task", |count| count == 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unhealthy_task_is_stopped_with_all_that_it_started() -> Result<()> {
    let cluster = Cluster::start(1, 0).await?;
    let (file, seconds) = (cluster.scratch().join("ill"), own_seconds(1));
    let script = format!("trap '' TERM; setsid sleep {seconds} & while :; do sleep 1; done");
    let mut spec = probed(often(shell(&format!("test ! -e {}", file.display()))))?;
    let program = spec::service("web", 1, &["/bin/sh", "-c", &script])?;
    spec.task_template.runtime = program.task_template.runtime;
    spec.task_template.stop_grace_ms = 300;
    spec.task_template.restart_policy.delay_ms = Some(60_000);
    create(&cluster, &spec).await?;
    sees(&cluster, "it runs", runs).await?;
    until_sleepers(&seconds, "it has started its own", |count| count == 1).await?;
    fs::write(&file, "")?;
    let failed =
        |it: &TaskEntry| it.task.status.error == "unhealthy: exit code 1 (3 times in a row)";
    sees(&cluster, "it is found unhealthy", failed).await?;
    until_sleepers(&seconds, "nothing is left", |count| count == 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_never_gets_healthy_is_turned_back_and_the_old_one_never_stops() -> Result<()>
{
    let cluster = Cluster::start(1, 0).await?;
    let mut spec = probed(often(shell("exit 0")))?;
    spec.update = UpdatePolicy {
        monitor_ms: 500,
        failure_action: Some(FailureAction::Rollback),
        start_timeout_ms: 3000,
        ..UpdatePolicy::default()
    };
    spec.rollback = UpdatePolicy { failure_action: None, ..spec.update };
    create(&cluster, &spec).await?;
    let first: TaskId = sees(&cluster, "it runs", runs).await?.task.id;
    // Found unhealthy before the start time-out is over; then only the time-out ends it.
    let forgiving = Probe { start_period_ms: 3_600_000, ..often(shell("exit 7")) };
    for (probe, word) in
        [(often(shell("exit 7")), "unhealthy: exit code 7"), (forgiving, "not running in time")]
    {
        let mut bad = spec.clone();
        bad.task_template.health = Some(probe);
        let target = "/v1/services/web/update";
        cluster.client(0).post::<Written>(target, &bad).await?;
        let mut client = cluster.client(0);
        let mut last = String::new();
        wait_until("it was turned back", SOON, async || {
            let entry: ServiceEntry = client.get("/v1/services/web").await.ok()?;
            let status = entry.update_status?;
            last = format!("{status:?}");
            let over = status.state == "rollback_completed" && status.message.contains(word);
            (over && entry.service.spec.task_template == spec.task_template).then_some(())
        })
        .await
        .map_err(|error| error.context(last))?;
        let now = sees(&cluster, "it runs", runs).await?.task;
        ensure!(now.id == first, "the old one was stopped");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_contradicts_itself_is_refused_by_command_line_and_api() -> Result<()> {
    let cluster = Cluster::start(1, 0).await?;
    let dir = &cluster.nodes()[0].dir;
    for (options, word) in [
        ("--health-cmd true --health-tcp 80", "cannot be used with"),
        ("--health-http /healthz", "PATH:PORT"),
        ("--health-tcp 0", "is not a port"),
        ("--health-retries 3", "give --health-cmd"),
        ("--health-tcp 80 --health-timeout 20s", "longer than the interval"),
    ] {
        let line = format!("service create {options} --runtime process -- /bin/true");
        let words: Vec<_> = line.split_whitespace().collect();
        let output = Swarm::at(dir, &words).run().await?;
        crate::support::fails(&output, 2, word)?;
    }
    let wrong = probed(Probe { timeout_ms: 301, ..often(Check::Tcp { port: 80 }) })?;
    let refused = cluster.client(0).post::<Written>("/v1/services/create", &wrong).await;
    crate::support::refused(refused, "invalid", "TaskTemplate.HealthCheck.TimeoutMs")?;
    ensure!(processes::of_node(dir)?.len() == 1, "only the daemon runs");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_sees_why_a_task_does_not_run_yet() -> Result<()> {
    let cluster = Cluster::start(1, 0).await?;
    let dir = &cluster.nodes()[0].dir;
    let create = "service create --name web --health-tcp 1 --timeout 2s --runtime process -- \
                  /bin/sleep 86400";
    let words: Vec<_> = create.split_whitespace().collect();
    let output = Swarm::at(dir, &words).run().await?;
    crate::support::fails(&output, 124, "web.1: not healthy yet on ")?;
    let said = |line: &'static str| async move {
        let words: Vec<_> = line.split(' ').collect();
        Swarm::at(dir, &words).run().await?.ok()
    };
    let ps = said("service ps web").await?;
    ensure!(ps.contains("Starting") && ps.contains("port 1: connection refused"), "{ps}");
    let explained = said("service explain web").await?;
    ensure!(explained.contains("UNREADY TASK"), "{explained}");
    let tasks: Vec<TaskEntry> = cluster.client(0).get("/v1/tasks").await?;
    let health = tasks[0].task.status.health.as_ref().context("it has a probe")?;
    ensure!((health.status, health.ready) == (HealthState::Starting, false), "{health:?}");
    // And can look into it.
    ensure!(said("exec web.1 echo here").await? == "here\n", "it is there already");
    // Without its probe it runs.
    let update = said("service update --no-healthcheck web").await?;
    ensure!(update.contains("web"), "{update}");
    sees(&cluster, "it runs", runs).await?;
    Ok(())
}
