//! A cluster of real nodes in directories of its own; nothing of it outlives it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;
use swarm_model::id::NodeId;
use swarm_model::node::{Reachability, Role};
use swarm_net::task::TaskGroup;
use swarm_node::api::types::{ClusterStatus, NodeEntry, ServiceEntry, TaskEntry, TokenAnswer};
use tempfile::TempDir;

use super::address::Block;
use super::client::Client;
use super::disk::Disk;
use super::node::NodeProcess;
use super::{processes, wait_until};

/// How long a cluster may take to settle.
const SETTLES_WITHIN: Duration = Duration::from_secs(40);

/// When set, directories and logs stay for a look.
const KEEP: &str = "SWARM_CHAOS_KEEP";

/// A cluster.
#[derive(Debug)]
pub struct Cluster {
    // Dropped, and so killed, before their directory goes.
    nodes: Vec<NodeProcess>,
    block: Block,
    tasks: TaskGroup,
    // Gone after the nodes and before their directories.
    disks: Vec<Disk>,
    scratch: TempDir,
}

impl Cluster {
    /// An empty place for nodes.
    ///
    /// # Errors
    /// When there is no temporary directory.
    pub fn empty() -> Result<Self> {
        let mut scratch = tempfile::Builder::new().prefix("swarm-").tempdir()?;
        scratch.disable_cleanup(std::env::var_os(KEEP).is_some());
        let (nodes, disks) = (Vec::new(), Vec::new());
        Ok(Self { nodes, block: Block::take(), tasks: TaskGroup::new(), disks, scratch })
    }

    /// A settled cluster of so many managers and workers.
    ///
    /// # Errors
    /// When a node does not start or the cluster does not settle.
    pub async fn start(managers: usize, workers: usize) -> Result<Self> {
        Self::start_with(managers, workers, &[]).await
    }

    /// As [`Cluster::start`], with more options for `swarm init`.
    ///
    /// # Errors
    /// When a node does not start or the cluster does not settle.
    pub async fn start_with(managers: usize, workers: usize, init: &[&str]) -> Result<Self> {
        Self::start_on(managers, workers, init, |_at| Ok(None)).await
    }

    /// As [`Cluster::start_with`], each node on a disk of its own, where `disk` makes one at its
    /// directory.
    ///
    /// # Errors
    /// When a disk cannot be made, a node does not start or the cluster does not settle.
    pub async fn start_on(
        managers: usize,
        workers: usize,
        init: &[&str],
        disk: impl Fn(&Path) -> Result<Option<Disk>>,
    ) -> Result<Self> {
        let mut cluster = Self::empty()?;
        for number in 0..managers + workers {
            let at = cluster.scratch.path().join(format!("n{number}"));
            cluster.disks.extend(disk(&at)?);
            match number {
                0 => cluster.init(init).await?,
                _ if number < managers => drop(cluster.join(Role::Manager).await?),
                _ => drop(cluster.join(Role::Worker).await?),
            }
        }
        cluster.settled().await?;
        Ok(cluster)
    }

    /// The disk of a node that has one of its own.
    pub fn disk(&mut self, number: usize) -> Option<&mut Disk> {
        let dir = &self.nodes[number].dir;
        self.disks.iter_mut().find(|disk| disk.at() == dir)
    }

    /// The ids of the nodes that answer.
    pub async fn ids(&self) -> Vec<NodeId> {
        let mut ids = Vec::new();
        for node in &self.nodes {
            ids.extend(node.info().await.map(|info| info.node_id));
        }
        ids
    }

    /// Gives a node that does not run the `place`-th address instead of its own, as a DHCP server
    /// might; gives the address.
    ///
    /// # Errors
    /// When the addresses are used up or the node has no settings.
    pub fn move_node(&mut self, number: usize, place: usize) -> Result<SocketAddr> {
        let addr = self.block.node(place)?;
        let node = &mut self.nodes[number];
        let file = node.dir.join("node.json");
        let mut settings: serde_json::Value = serde_json::from_slice(&std::fs::read(&file)?)?;
        for key in ["Listen", "Advertise"] {
            let old = settings.get_mut(key).with_context(|| format!("no {key} in node.json"))?;
            *old = addr.to_string().into();
        }
        std::fs::write(&file, serde_json::to_vec_pretty(&settings)?)?;
        node.addr = addr;
        Ok(addr)
    }

    /// Takes a node out of those that are looked after: it is no part of the cluster any more.
    pub fn take(&mut self, number: usize) -> NodeProcess {
        self.nodes.remove(number)
    }

    /// Cuts the power of some nodes, each on a loop disk: all their processes are gone at once, and
    /// what their disks did not have yet is gone with them.
    ///
    /// # Errors
    /// When a process or a disk goes on.
    pub fn cut_power(&mut self, numbers: &[usize]) -> Result<()> {
        for number in numbers {
            if let Some(pid) = self.nodes[*number].pid() {
                processes::signal(pid, Signal::KILL)?;
            }
        }
        let hit: Vec<_> = numbers.iter().map(|it| self.nodes[*it].dir.clone()).collect();
        Disk::stop_all(&hit)?;
        for number in numbers {
            self.nodes[*number].lose_machine()?;
            self.disk(*number).context("the node has no disk of its own")?.unmount()?;
        }
        Ok(())
    }

    /// Gives some nodes power again: mounts what their disks had, starts them, waits for nothing.
    ///
    /// # Errors
    /// When a disk cannot be mounted.
    pub fn power_on(&mut self, numbers: &[usize]) -> Result<()> {
        for number in numbers {
            self.disk(*number).context("the node has no disk of its own")?.mount()?;
            self.nodes[*number].restart()?;
        }
        Ok(())
    }

    /// A place for one more node; nothing is started.
    ///
    /// # Errors
    /// When the addresses are used up.
    pub fn add_place(&mut self) -> Result<&mut NodeProcess> {
        let number = self.nodes.len();
        let dir = self.scratch.path().join(format!("n{number}"));
        self.nodes.push(NodeProcess::new(dir, self.block.node(number)?, self.tasks.clone()));
        self.nodes.last_mut().context("just added")
    }

    /// Makes the first node, as `swarm init --foreground` does.
    ///
    /// # Errors
    /// When it does not serve.
    pub async fn init(&mut self, options: &[&str]) -> Result<()> {
        let node = self.add_place()?;
        let addr = node.addr.to_string();
        let mut arguments = vec!["init", "--foreground", "--listen-addr", &addr];
        arguments.extend(["--advertise-addr", &addr]);
        arguments.extend(options);
        node.spawn(&arguments)?;
        node.serving().await
    }

    /// Lets one more node join, as `swarm join --foreground` does; gives its number.
    ///
    /// # Errors
    /// When it does not serve.
    pub async fn join(&mut self, role: Role) -> Result<usize> {
        let token = self.token(role).await?;
        let manager = self.nodes.first().context("no node yet")?.addr.to_string();
        let node = self.add_place()?;
        let addr = node.addr.to_string();
        node.spawn(&["join", "--foreground", "--token", &token, "--listen-addr", &addr, &manager])?;
        node.serving().await?;
        Ok(self.nodes.len() - 1)
    }

    /// The join token of a role, from the first node.
    ///
    /// # Errors
    /// When there is no leader in time.
    pub async fn token(&self, role: Role) -> Result<String> {
        let mut client = self.client(0);
        wait_until("a join token", SETTLES_WITHIN, async || {
            client.get(&format!("/v1/tokens/{role}")).await.ok()
        })
        .await
        .map(|answer: TokenAnswer| answer.token)
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// All nodes.
    pub fn nodes(&self) -> &[NodeProcess] {
        &self.nodes
    }

    /// A node, by number.
    pub fn node(&mut self, number: usize) -> &mut NodeProcess {
        &mut self.nodes[number]
    }

    /// A client of a node, by number.
    pub fn client(&self, number: usize) -> Client {
        self.nodes[number].client()
    }

    /// The owner of this cluster's client tasks.
    pub fn tasks(&self) -> &TaskGroup {
        &self.tasks
    }

    /// The directory of everything.
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// The number of the node with this id.
    ///
    /// # Errors
    /// When none of the running nodes has it.
    pub async fn number_of(&self, id: NodeId) -> Result<usize> {
        for (number, node) in self.nodes.iter().enumerate() {
            if node.info().await.is_ok_and(|info| info.node_id == id) {
                return Ok(number);
            }
        }
        bail!("no running node is {id}")
    }

    /// The number of the leader, as a majority of the running nodes sees it.
    ///
    /// # Errors
    /// When they do not agree on one in time.
    pub async fn leader(&self) -> Result<usize> {
        wait_until("a leader that says so itself", SETTLES_WITHIN, async || {
            for (number, node) in self.nodes.iter().enumerate() {
                let Ok(info) = node.info().await else { continue };
                if info.leader == Some(info.node_id) && self.followed(info.node_id).await {
                    return Some(number);
                }
            }
            None
        })
        .await
    }

    async fn followed(&self, leader: NodeId) -> bool {
        let mut following = 0;
        for node in &self.nodes {
            let seen = node.info().await;
            following += usize::from(seen.is_ok_and(|info| info.leader == Some(leader)));
        }
        following * 2 > self.nodes.len()
    }

    /// Waits until every node is up, heard from and caught up, and as many vote as may.
    ///
    /// # Errors
    /// When that does not happen in time; says what is missing.
    pub async fn settled(&self) -> Result<()> {
        let mut last = String::new();
        let settled = wait_until("a settled cluster", SETTLES_WITHIN, async || {
            for number in 0..self.nodes.len() {
                match self.unsettled(number).await {
                    Ok(None) => {}
                    Ok(Some(why)) => {
                        last = format!("node {number}: {why}");
                        return None;
                    }
                    Err(error) => {
                        last = format!("node {number}: {error}");
                        return None;
                    }
                }
            }
            Some(())
        });
        settled
            .await
            .map_err(|error| error.context(format!("{last} ({})", self.scratch.path().display())))
    }

    /// What is missing, as this node sees it.
    async fn unsettled(&self, number: usize) -> Result<Option<String>> {
        let mut client = self.client(number).with_patience(Duration::from_secs(3));
        let status: ClusterStatus = client.get("/v1/status").await?;
        let nodes: Vec<NodeEntry> = client.get("/v1/nodes").await?;
        let ready = |entry: &&NodeEntry| entry.node.status.reachability == Reachability::Ready;
        let managers = nodes.iter().filter(|entry| entry.node.spec.role == Role::Manager).count();
        let voters = nodes.iter().filter(|entry| entry.voter).count();
        let wanted = if managers.is_multiple_of(2) { managers.saturating_sub(1) } else { managers };
        Ok(if !status.quorum || status.info.leader.is_none() {
            Some("no quorum".to_owned())
        } else if nodes.iter().filter(ready).count() != self.nodes.len() {
            Some("not all nodes are ready".to_owned())
        } else if voters != wanted.clamp(1, 5) {
            Some(format!("{voters} nodes vote"))
        } else if status.replicas.iter().any(|replica| replica.lag.is_some_and(|lag| lag > 8)) {
            Some("a replica lags".to_owned())
        } else {
            None
        })
    }

    /// The tasks of a service that are wanted, as a node sees them without asking others.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn wanted_tasks(&self, number: usize, service: &str) -> Result<Vec<TaskEntry>> {
        let filters = format!(r#"{{"service":["{service}"],"desired-state":["running"]}}"#);
        let target = format!("/v1/tasks?stale=true&filters={}", encode(&filters));
        Ok(self.client(number).get(&target).await?)
    }

    /// Waits until a service has as many tasks running as it wants.
    ///
    /// # Errors
    /// When that does not happen in time.
    pub async fn converged(&self, number: usize, service: &str, within: Duration) -> Result<()> {
        let mut client = self.client(number);
        let target = format!("/v1/services/{service}?stale=true");
        let mut last = String::new();
        wait_until(&format!("{service} runs in full"), within, async || {
            let counts = client.get::<ServiceEntry>(&target).await.ok()?.service_status;
            last = format!("{counts:?}");
            (counts.running_tasks == counts.desired_tasks).then_some(())
        })
        .await
        .map_err(|error| error.context(last))
    }
}

/// Percent-encodes a query value.
pub fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    let write = |byte: u8| {
        if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    text.bytes().map(write).collect()
}
