//! Ports and directories that somebody else has.

use std::net::UdpSocket;

use anyhow::{Result, ensure};
use swarm_chaos::real::{Cluster, Swarm, spec};
use swarm_node::api::types::Written;

use crate::support::{alive, fails};

#[tokio::test(flavor = "multi_thread")]
async fn port_in_use_is_named_and_nothing_is_left() -> Result<()> {
    let mut cluster = Cluster::empty()?;
    let place = cluster.add_place()?;
    let _taken = UdpSocket::bind(place.addr)?;
    let addr = place.addr.to_string();
    let init = ["init", "--listen-addr", &addr, "--advertise-addr", &addr];
    let output = Swarm::at(&place.dir, &init).run().await?;
    fails(&output, 4, &addr)?;
    ensure!(output.stderr.contains("in use"), "{}", output.stderr);
    ensure!(!place.dir.exists(), "a failed init left {}", place.dir.display());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_on_a_taken_port_says_so_and_works_when_it_is_free() -> Result<()> {
    let mut cluster = Cluster::start(1, 0).await?;
    cluster.client(0).post::<Written>("/v1/configs/create", &spec::config("c", b"1")?).await?;
    let node = cluster.node(0);
    node.kill()?;
    let taken = UdpSocket::bind(node.addr)?;
    let output = Swarm::at(&node.dir, &["daemon"]).run().await?;
    ensure!(output.code != 0 && output.stderr.contains("in use"), "{output:?}");
    drop(taken);
    node.restart()?;
    node.serving().await?;
    cluster.settled().await?;
    alive::<serde_json::Value>(&mut cluster.client(0), "/v1/configs/c").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn second_daemon_of_a_directory_does_not_start_and_does_no_harm() -> Result<()> {
    let cluster = Cluster::start(1, 0).await?;
    let dir = cluster.nodes()[0].dir.clone();
    let output = Swarm::at(&dir, &["daemon"]).run().await?;
    ensure!(output.code != 0 && output.stderr.contains("in use"), "{output:?}");
    let addr = cluster.nodes()[0].addr.to_string();
    let output = Swarm::at(&dir, &["init", "--advertise-addr", &addr]).run().await?;
    ensure!(output.code != 0 && output.stderr.contains("already"), "{output:?}");
    let mut client = cluster.client(0);
    client.post::<Written>("/v1/configs/create", &spec::config("c", b"1")?).await?;
    alive::<serde_json::Value>(&mut client, "/v1/configs/c").await?;
    Ok(())
}
