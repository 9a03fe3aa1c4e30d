//! The stage of a scenario: a cluster under load that is watched, and how to hurt it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use swarm_node::api::types::Written;
use tokio::time::sleep;

use super::finish::CAUGHT_UP;
use super::verdict::invalid;
use super::watch::Watch;
use super::{Ask, Sheet};
use crate::load::{Churn, Load, Pressure};
use crate::real::{Cluster, Partition, Stopwatch, spec, wait_until};

/// The service that runs during the whole of every run.
pub(super) const STEADY: &str = "steady";
pub(super) const STEADY_REPLICAS: u32 = 6;
/// How long it may take until the load and the service run.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// How long anything may take that has a shorter limit of its own.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster under load.
#[derive(Debug)]
pub struct Stage {
    /// The cluster.
    pub cluster: Cluster,
    /// What it goes through and came to.
    pub sheet: Sheet,
    /// Who looks at it.
    pub watch: Watch,
    /// Its load.
    pub load: Load,
    /// Whether the run is too idle to count below so many operations a second.
    pub floor: f64,
    pub(super) churn: Option<Churn>,
}

impl Stage {
    /// A settled cluster of so many managers and workers under the usual load.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(ask: &Ask, managers: usize, workers: usize) -> Result<Self> {
        let cluster = Cluster::start(managers, workers).await?;
        Self::with(ask, cluster).await
    }

    /// The usual load on a cluster that is there.
    ///
    /// # Errors
    /// When the load does not get going.
    pub async fn with(ask: &Ask, cluster: Cluster) -> Result<Self> {
        let steady = spec::service(STEADY, STEADY_REPLICAS, &spec::STAYS)?;
        cluster.client(0).post::<Written>("/v1/services/create", &steady).await?;
        cluster.converged(0, STEADY, STARTS_WITHIN).await?;
        let stage = Self::bare(ask, cluster, "r")?;
        wait_until("the load runs", STARTS_WITHIN, async || {
            (stage.load.acknowledged() >= 20).then_some(())
        })
        .await?;
        let count = stage.cluster.len();
        stage.sheet.say(format!("{count} nodes under load"));
        Ok(stage)
    }

    /// Load and watch without the steady service, not waiting for anything; keys start with `prefix`.
    ///
    /// # Errors
    /// When the history's file cannot be made.
    pub fn bare(ask: &Ask, cluster: Cluster, prefix: &str) -> Result<Self> {
        let load = Load::start(&cluster, Pressure::default(), prefix, &ask.history(prefix)?)?;
        let churn = Some(Churn::start(&cluster, &format!("churn-{prefix}")));
        let watch = Watch::start(&cluster);
        Ok(Self { watch, load, churn, cluster, sheet: Sheet::default(), floor: FLOOR })
    }

    /// Where the `number`-th node listens.
    pub fn addr(&self, number: usize) -> SocketAddr {
        self.cluster.nodes()[number].addr
    }

    /// Where all nodes listen.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.cluster.nodes().iter().map(|node| node.addr).collect()
    }

    /// Addresses of some nodes, and of all the others.
    pub fn sides(&self, side: &[usize]) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
        let mut sides = (Vec::new(), Vec::new());
        for (number, node) in self.cluster.nodes().iter().enumerate() {
            let half = if side.contains(&number) { &mut sides.0 } else { &mut sides.1 };
            half.push(node.addr);
        }
        sides
    }

    /// Waits until a write is acknowledged that was asked for from now on; how long that took.
    ///
    /// # Errors
    /// When none is for a long time.
    pub async fn outage(&self) -> Result<Duration> {
        let journal = self.load.journal();
        let from = journal.now_us();
        let end = wait_until("a write is acknowledged again", PATIENCE, async || {
            journal.writes_since(from).iter().map(|(_, end)| *end).min()
        })
        .await?;
        Ok(Duration::from_micros(end - from))
    }

    /// Waits until a node other than `old` is seen leading; how long that took.
    ///
    /// # Errors
    /// When none is for a long time.
    pub async fn other_leader(&self, old: swarm_model::id::NodeId) -> Result<Duration> {
        let (watch, from) = (Stopwatch::start(), self.watch.now());
        wait_until("another leader", PATIENCE, async || {
            self.watch.leaders_since(from).iter().any(|led| led.leader != old).then_some(())
        })
        .await?;
        Ok(watch.elapsed())
    }

    /// Lets a fault that lies on the network act for some time, then heals it.
    ///
    /// # Errors
    /// When it hit no packet: it was no fault.
    pub async fn during(&mut self, what: &str, cut: Partition, time: Duration) -> Result<()> {
        sleep(time).await;
        let hit = cut.hit()?;
        if hit == 0 {
            return Err(invalid(format!("{what}: no packet was hit")));
        }
        drop(cut);
        self.sheet.injected(what, 1);
        self.sheet.injected("packet hit", hit);
        Ok(())
    }

    /// Waits until the cluster is whole again; how long that took.
    ///
    /// # Errors
    /// When that does not happen in time.
    pub async fn heals(&self) -> Result<Duration> {
        let watch = Stopwatch::start();
        self.cluster.settled().await.context("C: not whole again after the heal")?;
        let took = watch.elapsed();
        ensure!(took <= CAUGHT_UP, "C: whole only {took:?} after the heal");
        Ok(took)
    }

    /// Kills a daemon.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self, number: usize) -> Result<()> {
        self.cluster.node(number).kill()?;
        self.sheet.injected("daemon killed", 1);
        Ok(())
    }

    /// Starts a daemon again and waits until it serves.
    ///
    /// # Errors
    /// When it does not.
    pub async fn restart(&mut self, number: usize) -> Result<()> {
        self.cluster.node(number).restart()?;
        self.cluster.node(number).serving().await
    }

    /// The id of a node.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn id(&self, number: usize) -> Result<swarm_model::id::NodeId> {
        Ok(self.cluster.nodes()[number].info().await?.node_id)
    }
}

/// Operations a second below which a run shows nothing: a tenth of what clients try.
const FLOOR: f64 = 30.0;

/// A slot of time in which a write is acknowledged or not.
const SLOT_US: u64 = 1_000_000;

impl Stage {
    /// Notes in how many whole seconds since `from_us` a write was acknowledged, against a limit in
    /// percent.
    pub fn slots(&mut self, from_us: u64, least: f64) {
        let journal = self.load.journal();
        let whole = (journal.now_us().saturating_sub(from_us)) / SLOT_US;
        let mut slots: Vec<u64> = journal
            .writes_since(0)
            .iter()
            .map(|(_, end)| *end)
            .filter(|end| *end >= from_us)
            .map(|end| (end - from_us) / SLOT_US)
            .filter(|slot| *slot < whole)
            .collect();
        slots.sort_unstable();
        slots.dedup();
        let whole = usize::try_from(whole).unwrap_or(usize::MAX);
        self.sheet.share("seconds with an acknowledged write", slots.len(), whole, least);
    }

    /// Writes 100 KiB; how long that took.
    ///
    /// # Errors
    /// When it is not acknowledged for a long time.
    pub async fn large_write(&self) -> Result<Duration> {
        let watch = Stopwatch::start();
        let number = self.load.journal().now_us();
        let large = spec::config(&format!("large-{number}"), &[7; 100 * 1024])?;
        let mut client = self.cluster.client(0);
        wait_until("100 KiB are written", PATIENCE, async || {
            match client.post::<Written>("/v1/configs/create", &large).await {
                Ok(_written) => Some(()),
                Err(error) => (error.code() == "name_taken").then_some(()),
            }
        })
        .await?;
        Ok(watch.elapsed())
    }
}
