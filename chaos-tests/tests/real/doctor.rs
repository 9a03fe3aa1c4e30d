//! `swarm doctor` on machines that lack something.

use std::net::UdpSocket;

use anyhow::{Context as _, Result, ensure};
use swarm_chaos::real::{Cluster, Swarm};
use swarm_node::doctor::{Finding, Verdict};

use crate::support::fails;

async fn findings(dir: &std::path::Path) -> Result<Vec<Finding>> {
    let output = Swarm::at(dir, &["doctor", "--format", "json"]).run().await?;
    let lines = output.stdout.lines();
    lines.map(|line| serde_json::from_str(line).context("a finding a line")).collect()
}

fn of<'a>(findings: &'a [Finding], check: &str) -> Result<&'a Finding> {
    findings
        .iter()
        .find(|it| it.check == check)
        .with_context(|| format!("no {check}: {findings:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_sees_members_clocks_while_the_daemon_runs_and_a_taken_port_when_not() -> Result<()>
{
    let mut cluster = Cluster::start(2, 0).await?;
    let (dir, addr) = (cluster.nodes()[1].dir.clone(), cluster.nodes()[1].addr);
    let running = findings(&dir).await?;
    ensure!(of(&running, "port")?.found.contains("held by the daemon"), "{running:?}");
    ensure!(of(&running, "clocks")?.found.contains("of 1 other"), "{running:?}");
    ensure!(of(&running, "disk sync")?.found.contains("4 KiB"), "{running:?}");

    cluster.node(1).kill()?;
    let stopped = findings(&dir).await?;
    ensure!(of(&stopped, "port")?.found.contains("is free"), "{stopped:?}");
    ensure!(of(&stopped, "clocks").is_err(), "nobody was there to ask: {stopped:?}");

    let taken = UdpSocket::bind(addr)?;
    let ill = findings(&dir).await?;
    ensure!(of(&ill, "port")?.verdict == Verdict::Bad, "{ill:?}");
    let output = Swarm::at(&dir, &["doctor"]).run().await?;
    ensure!(output.stdout.contains("To mend:"), "{output:?}");
    fails(&output, 1, "bad")?;
    drop(taken);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_works_before_there_is_a_node_and_looks_at_no_other_machine() -> Result<()> {
    let mut cluster = Cluster::empty()?;
    let dir = cluster.add_place()?.dir.clone();
    let before = findings(&dir).await?;
    for check in
        ["kernel", "cgroups", "disk kept", "disk room", "disk sync", "port", "mtu", "clock"]
    {
        of(&before, check)?;
    }
    ensure!(!dir.exists(), "doctor made {}", dir.display());
    let host = ["doctor", "--host", "unix:///nowhere/swarm.sock"];
    fails(&Swarm::at(&dir, &host).run().await?, 2, "this machine")
}
