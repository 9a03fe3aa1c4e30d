//! The nodes of `swarm dev`: started one by one, removed together.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use swarm_model::cluster::ClusterSpec;
use swarm_model::node::Availability;
use swarm_node::api::types::{Info, NodeEntry};
use swarm_node::setup::{InitOptions, JoinOptions};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::client::{Client, Endpoint};
use crate::exit::Failure;
use crate::hosting::launch::{self, Daemon};
use crate::hosting::{backend, serving};
use crate::output;
use crate::output::progress::Progress;
use crate::output::table;
use crate::parse::address::DEFAULT_PORT;

/// So many of the first nodes are managers.
const MANAGERS: u16 = 3;
/// How long nodes may take to be heard.
const READY_WITHIN: Duration = Duration::from_secs(15);
/// Pause between two looks.
const READY_PAUSE: Duration = Duration::from_millis(50);
/// How often another port is tried when one is taken.
const PORT_TRIES: u16 = 200;

/// Some nodes in one temporary directory.
#[derive(Debug)]
pub(super) struct DevCluster {
    dir: TempDir,
    addresses: Vec<SocketAddr>,
    nodes: Vec<DevNode>,
}

#[derive(Debug)]
struct DevNode {
    data_dir: PathBuf,
    daemon: Daemon,
}

impl DevCluster {
    /// Chooses a directory and addresses; starts nothing.
    ///
    /// # Errors
    /// When there is no temporary directory or no free port.
    pub(super) fn new(nodes: u16) -> Result<Self, Failure> {
        let dir = tempfile::Builder::new()
            .prefix("swarm-dev-")
            .tempdir()
            .map_err(|error| Failure::failed(format!("cannot make a directory: {error}")))?;
        Ok(Self { dir, addresses: free_addresses(nodes)?, nodes: Vec::new() })
    }

    /// Starts all nodes.
    ///
    /// # Errors
    /// Why a node does not start; those before it run.
    pub(super) async fn start(&mut self, progress: &Progress) -> Result<(), Failure> {
        let count = self.addresses.len();
        for (number, address) in self.addresses.clone().into_iter().enumerate() {
            progress.show(&format!("starting node {} of {count}", number + 1));
            let data_dir = self.dir.path().join(format!("n{}", number + 1));
            if number == 0 {
                backend::init(&InitOptions {
                    data_dir: data_dir.clone(),
                    listen: address,
                    advertise: address,
                    availability: Availability::Active,
                    spec: ClusterSpec::default(),
                    offers: Default::default(),
                })?;
            } else {
                self.join(&data_dir, address, number < usize::from(MANAGERS)).await?;
            }
            // Noted before it is waited for, so that an interruption finds it.
            let daemon = launch::start(&data_dir, false)?;
            self.nodes.push(DevNode { data_dir, daemon });
            if let Some(DevNode { data_dir, daemon }) = self.nodes.last_mut() {
                launch::wait_until_serving(daemon, data_dir).await?;
            }
        }
        self.wait_until_ready(progress).await
    }

    async fn join(
        &self,
        data_dir: &Path,
        address: SocketAddr,
        as_manager: bool,
    ) -> Result<(), Failure> {
        let role = if as_manager { "manager" } else { "worker" };
        let token = serving::token(&self.client()?, role).await?;
        let token = backend::token(&token.token).map_err(Failure::failed)?;
        backend::join(&JoinOptions {
            data_dir: data_dir.to_owned(),
            listen: address,
            advertise: Some(address),
            availability: Availability::Active,
            token,
            managers: self.addresses.iter().copied().take(self.nodes.len()).collect(),
            offers: Default::default(),
        })
        .await
        .map(drop)
    }

    /// A client of the first node.
    ///
    /// # Errors
    /// When none was started.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let first = self.nodes.first().ok_or_else(|| Failure::failed("no node was started"))?;
        Ok(Client::new(Endpoint::of_data_dir(&first.data_dir)))
    }

    /// Where the last node is.
    ///
    /// # Errors
    /// When none was started.
    pub(super) fn last_endpoint(&self) -> Result<Endpoint, Failure> {
        let last = self.nodes.last().ok_or_else(|| Failure::failed("no node was started"))?;
        Ok(Endpoint::of_data_dir(&last.data_dir))
    }

    /// Whether the cluster can lose its leader.
    pub(super) fn has_majority_without_one(&self) -> bool {
        self.nodes.len() >= usize::from(MANAGERS)
    }

    /// Waits until the cluster hears all nodes, so that tasks spread over them; not for ever.
    async fn wait_until_ready(&self, progress: &Progress) -> Result<(), Failure> {
        let client = self.client()?;
        let end = Instant::now() + READY_WITHIN;
        while Instant::now() < end {
            let entries: Vec<NodeEntry> = client.get("/v1/nodes", &[]).await?;
            let ready = entries.iter().filter(|entry| entry.node.takes_tasks()).count();
            if ready == self.nodes.len() {
                return Ok(());
            }
            progress.show(&format!("{ready} of {} nodes are ready", self.nodes.len()));
            sleep(READY_PAUSE).await;
        }
        output::warning("not all nodes are ready yet: see the table");
        Ok(())
    }

    /// The nodes with their directories and daemons, for people.
    ///
    /// # Errors
    /// When no node answers.
    pub(super) async fn table(&self, client: &Client) -> Result<String, Failure> {
        let entries: Vec<NodeEntry> = client.get("/v1/nodes", &[]).await?;
        let mut rows = Vec::new();
        for node in &self.nodes {
            let own = Client::new(Endpoint::of_data_dir(&node.data_dir));
            let info: Info = own.get("/v1/info", &[]).await?;
            let entry = entries.iter().find(|entry| entry.node.id == info.node_id);
            let status = entry.map(|entry| entry.node.status.reachability.to_string());
            let manager = entry.and_then(|entry| entry.manager_status);
            rows.push(vec![
                info.node_id.short(),
                info.node_addr,
                status.unwrap_or_default(),
                manager.map(|status| format!("{status:?}")).unwrap_or_default(),
                info.daemon_pid.to_string(),
                node.data_dir.display().to_string(),
            ]);
        }
        let headers = ["ID", "ADDRESS", "STATUS", "MANAGER STATUS", "DAEMON", "DATA DIR"];
        Ok(table::render(&headers, &rows))
    }

    /// The process id of a node's daemon.
    pub(super) async fn pid_of(&self, id: &str) -> Option<u32> {
        for node in &self.nodes {
            let own = Client::new(Endpoint::of_data_dir(&node.data_dir));
            let info: Info = own.get("/v1/info", &[]).await.ok()?;
            if info.node_id.to_string() == id {
                return Some(info.daemon_pid);
            }
        }
        None
    }

    /// Ends all daemons, then all tasks, then removes all files.
    ///
    /// # Errors
    /// What is left, when something is.
    pub(super) async fn remove(mut self) -> Result<(), Failure> {
        for node in &mut self.nodes {
            node.daemon.stop(&node.data_dir).await;
        }
        let mut failed = None;
        for node in &self.nodes {
            if let Err(failure) = backend::stop_tasks(&node.data_dir).await {
                output::warning(&format!("{}: {failure}", node.data_dir.display()));
                failed.get_or_insert(failure);
            }
        }
        if let Some(failure) = failed {
            // The run directories tell which tasks are left: they stay.
            let left = self.dir.keep();
            let message = format!("tasks are left, see {}: {failure}", left.display());
            return Err(Failure::failed(message));
        }
        let path = self.dir.path().display().to_string();
        self.dir.close().map_err(|error| Failure::failed(format!("cannot remove {path}: {error}")))
    }
}

/// A loopback address for each node, all with the same port, all free.
fn free_addresses(nodes: u16) -> Result<Vec<SocketAddr>, Failure> {
    let address = |number: u16, port: u16| {
        let [high, low] = number.to_be_bytes();
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, high, low)), port)
    };
    for step in 0..PORT_TRIES {
        let port = DEFAULT_PORT + step;
        let addresses: Vec<_> = (1..=nodes).map(|number| address(number, port)).collect();
        let bound: Result<Vec<_>, _> = addresses.iter().map(UdpSocket::bind).collect();
        if bound.is_ok() {
            return Ok(addresses);
        }
    }
    let last = DEFAULT_PORT + PORT_TRIES;
    let message = format!("no UDP port from {DEFAULT_PORT} to {last} is free on 127.0.0.1 and on");
    Err(Failure::failed(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_ports_are_passed_over() {
        let first = free_addresses(3).expect("a port is free");
        let _taken = UdpSocket::bind(first[1]).expect("is free");
        let second = free_addresses(3).expect("a port is free");
        assert!(second[0].port() > first[0].port());
        assert_eq!(second.iter().filter(|a| a.port() == second[0].port()).count(), 3);
    }
}
