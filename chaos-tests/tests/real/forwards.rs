//! Connections to ports of tasks, on whichever node; how they end, and what is said when there are none.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use swarm_chaos::real::{Cluster, Swarm, spec, wait_until};
use swarm_model::runtime::{Namespace, RuntimeSpec};
use swarm_model::service::ServiceSpec;
use swarm_model::task::Task;
use swarm_node::api::types::Written;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Child;

use crate::support::{SOON, fails, skip};

/// Says who it is, then what it is told, to the end of that. It listens on its slot's address.
const ECHO: &str = r#"use IO::Socket::INET; $SIG{CHLD} = "IGNORE"; my $slot = $ENV{SWARM_TASK_SLOT};
    my $l = IO::Socket::INET->new(LocalAddr => "127.9.$ARGV[0].$slot", LocalPort => 7070,
        Listen => 9, ReuseAddr => 1) or die $!;
    while (my $c = $l->accept) { if (!fork) { syswrite $c, $slot; my $part;
        while (sysread $c, $part, 65536) { syswrite $c, $part } syswrite $c, "."; exit } close $c }"#;

/// Addresses of one test's tasks.
fn echo(replicas: u32, net: &str) -> Result<ServiceSpec> {
    spec::service("echo", replicas, &["/usr/bin/perl", "-e", ECHO, net])
}

async fn running(spec: ServiceSpec) -> Result<(Cluster, PathBuf)> {
    let cluster = Cluster::start(2, 0).await?;
    cluster.client(0).post::<Written>("/v1/services/create", &spec).await?;
    cluster.converged(0, "echo", SOON).await?;
    let asked = cluster.nodes()[0].dir.clone();
    Ok((cluster, asked))
}

/// Starts the command; gives where it listens.
async fn forward(asked: &Path, to: &str) -> Result<(Child, String)> {
    let mut child = Swarm::at(asked, &["forward", to, "0:7070"]).start()?;
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().context("a pipe")?).read_line(&mut line).await?;
    let at = line.split_whitespace().nth(1).with_context(|| format!("it said {line:?}"))?;
    Ok((child, at.to_owned()))
}

/// Waits for a connection to a task that has begun to listen; gives it and the slot.
async fn connect(at: &str) -> Result<(TcpStream, char)> {
    wait_until("a task says who it is", SOON, async || {
        let mut connection = TcpStream::connect(at).await.ok()?;
        let slot = connection.read_u8().await.ok()?;
        Some((connection, char::from(slot)))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_go_both_ways_to_each_task_in_turn_and_half_an_end_is_one() -> Result<()> {
    let (_cluster, asked) = running(echo(2, "1")?).await?;
    let (mut command, at) = forward(&asked, "echo").await?;
    let mut slots = Vec::new();
    for _turn in 0..4 {
        let (connection, slot) = connect(&at).await?;
        slots.push(slot);
        let (mut reading, mut writing) = connection.into_split();
        let much = vec![b'x'; 5 << 20];
        let send = async {
            writing.write_all(&much).await?;
            writing.shutdown().await
        };
        let mut back = Vec::new();
        let (sent, read) = tokio::join!(send, reading.read_to_end(&mut back));
        sent?;
        read?;
        // What the task says after the end of what it is told comes, too.
        ensure!(back.len() == much.len() + 1 && back.ends_with(b"x."), "{} came", back.len());
    }
    ensure!(slots.contains(&'1') && slots.contains(&'2'), "only {slots:?} were reached");
    let port = at.rsplit_once(':').context("a port")?.1;
    let taken = Swarm::at(&asked, &["forward", "echo", &format!("{port}:7070")]).run().await?;
    fails(&taken, 4, "cannot listen on 127.0.0.1:")?;
    // Ctrl-C ends it, and the connections with it.
    let (mut open, _slot) = connect(&at).await?;
    let pid = i32::try_from(command.id().context("it runs")?)?;
    kill_process(Pid::from_raw(pid).context("a process")?, Signal::INT)?;
    command.wait().await?;
    ensure!(matches!(open.read(&mut [0; 9]).await, Ok(0) | Err(_)), "it goes on");
    ensure!(TcpStream::connect(&at).await.is_err(), "somebody listens on {at}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_ends_ends_its_connections_and_the_next_go_to_another() -> Result<()> {
    let (cluster, asked) = running(echo(2, "2")?).await?;
    let (_command, at) = forward(&asked, "echo").await?;
    let (mut open, slot) = connect(&at).await?;
    let task: Task = cluster.client(0).get(&format!("/v1/tasks/echo.{slot}")).await?;
    let pid = i32::try_from(task.status.pid.context("it runs")?)?;
    kill_process(Pid::from_raw(pid).context("a process")?, Signal::KILL)?;
    let mut rest = Vec::new();
    drop(tokio::time::timeout(SOON, open.read_to_end(&mut rest)).await.context("it goes on")?);
    let (_connection, _slot) = connect(&at).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_nobody_listens_on_is_said() -> Result<()> {
    let (_cluster, asked) = running(echo(1, "3")?).await?;
    let (_command, own) = forward(&asked, "echo").await?;
    connect(&own).await?;
    let mut child = Swarm::at(&asked, &["forward", "echo.1", "0:7071"]).start()?;
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().context("a pipe")?).read_line(&mut line).await?;
    let at = line.split_whitespace().nth(1).context("an address")?;
    let mut connection = TcpStream::connect(at).await?;
    ensure!(matches!(connection.read(&mut [0; 9]).await, Ok(0) | Err(_)), "somebody answers");
    let mut said = String::new();
    BufReader::new(child.stderr.as_mut().context("a pipe")?).read_line(&mut said).await?;
    ensure!(said.contains("does not listen on port 7071"), "it said {said}");
    // What others listen on, on the same machine, is not the task's.
    let other = TcpListener::bind("127.0.0.1:0").await?;
    let port = other.local_addr()?.port();
    let mut child = Swarm::at(&asked, &["forward", "echo.1", &format!("0:{port}")]).start()?;
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().context("a pipe")?).read_line(&mut line).await?;
    let at = line.split_whitespace().nth(1).context("an address")?;
    let mut connection = TcpStream::connect(at).await?;
    ensure!(matches!(connection.read(&mut [0; 9]).await, Ok(0) | Err(_)), "it was reached");
    let mut said = String::new();
    BufReader::new(child.stderr.as_mut().context("a pipe")?).read_line(&mut said).await?;
    let refusal = format!("does not listen on port {port}, it does on 7070");
    ensure!(said.contains(&refusal), "it said {said}");
    fails(&Swarm::at(&asked, &["forward", "nothing", "0:1"]).run().await?, 3, "nothing")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_with_a_network_of_its_own_is_reached_inside() -> Result<()> {
    if !geteuid().is_root() {
        return skip("needs root");
    }
    let mut spec = echo(1, "4")?;
    let RuntimeSpec::Process(process) = &mut spec.task_template.runtime;
    process.namespaces = [Namespace::Net].into();
    let (_cluster, asked) = running(spec).await?;
    let (_command, at) = forward(&asked, "echo").await?;
    assert_eq!(connect(&at).await?.1, '1');
    Ok(())
}
