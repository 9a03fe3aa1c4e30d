//! Clients that write and read registers through all nodes while faults happen.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use http::Method;
use swarm_model::config::Config;
use swarm_node::api::types::Written;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::real::{Client, ClientError, Cluster, spec};
use crate::register::{Register, Registers, number};

/// Longer than a node takes to say that it has no quorum.
const PATIENCE: Duration = Duration::from_secs(12);
/// Between two writes of a client.
const PACE: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
struct Counters {
    acknowledged: AtomicU64,
    unknown: AtomicU64,
    reads: AtomicU64,
}

/// A running load.
#[derive(Debug)]
pub struct Workload {
    clients: JoinSet<Result<()>>,
    stop: CancellationToken,
    registers: Registers,
    counters: Arc<Counters>,
}

/// What a load did.
#[derive(Debug)]
pub struct Done {
    /// Its registers, to be checked once more at the end.
    pub registers: Registers,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Writes of which nobody knows.
    pub unknown: u64,
    /// Reads that were checked.
    pub reads: u64,
}

impl Workload {
    /// Starts so many clients, evenly over all nodes of the cluster.
    pub fn start(cluster: &Cluster, clients: usize) -> Self {
        let mut load = Self {
            clients: JoinSet::new(),
            stop: CancellationToken::new(),
            registers: Registers::default(),
            counters: Arc::default(),
        };
        for id in 0..clients {
            let writer = Writer {
                id,
                client: cluster.client(id % cluster.len()).with_patience(PATIENCE),
                registers: load.registers.clone(),
                counters: load.counters.clone(),
                stop: load.stop.clone(),
            };
            load.clients.spawn(writer.run());
        }
        load
    }

    /// Writes acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.counters.acknowledged.load(Ordering::Relaxed)
    }

    /// Ends the load.
    ///
    /// # Errors
    /// What a client saw that must not be.
    pub async fn stop(mut self) -> Result<Done> {
        self.stop.cancel();
        while let Some(ended) = self.clients.join_next().await {
            ended.context("a client panicked")??;
        }
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Ok(Done {
            registers: self.registers,
            acknowledged: count(&self.counters.acknowledged),
            unknown: count(&self.counters.unknown),
            reads: count(&self.counters.reads),
        })
    }
}

impl Done {
    /// Demands that there was enough load for the run to mean something.
    ///
    /// # Errors
    /// When there was not.
    pub fn at_least(&self, acknowledged: u64) -> Result<()> {
        ensure!(
            self.acknowledged >= acknowledged,
            "the load was too low to show anything: {self:?}"
        );
        Ok(())
    }
}

struct Writer {
    id: usize,
    client: Client,
    registers: Registers,
    counters: Arc<Counters>,
    stop: CancellationToken,
}

impl Writer {
    async fn run(mut self) -> Result<()> {
        for generation in 0_u64.. {
            if self.stop.is_cancelled() {
                break;
            }
            let register = self.registers.add(format!("r{}-{generation}", self.id));
            self.raise(&register).await?;
        }
        Ok(())
    }

    /// Raises one register until a write's fate is unknown.
    async fn raise(&mut self, register: &Register) -> Result<()> {
        let mut next = 0;
        while !self.stop.is_cancelled() {
            register.trying(next);
            let spec = spec::config(&register.name, next.to_string().as_bytes())?;
            let target = if next == 0 {
                "/v1/configs/create".to_owned()
            } else {
                format!("/v1/configs/{}/update", register.name)
            };
            match self.client.post::<Written>(&target, &spec).await {
                Ok(_written) => {
                    register.acknowledge();
                    self.counters.acknowledged.fetch_add(1, Ordering::Relaxed);
                    next += 1;
                }
                // Nobody was there: nothing happened.
                Err(ClientError::Connect(_)) => sleep(PACE).await,
                Err(error) if matches!(error.code(), "not_found" | "name_taken") => {
                    bail!("{} at {next}: {error}", register.name);
                }
                Err(error) => {
                    tracing::debug!(%error, register = register.name, next, "unknown");
                    self.counters.unknown.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
            }
            self.read_some().await?;
            sleep(PACE).await;
        }
        Ok(())
    }

    /// Reads a register, mostly somebody else's, and checks it against what was acknowledged before.
    async fn read_some(&mut self) -> Result<()> {
        let all = self.registers.all();
        let seed = self.counters.reads.load(Ordering::Relaxed);
        let index = usize::try_from(seed)? % all.len();
        let register = &all[index];
        let floor = register.acknowledged();
        let target = format!("/v1/configs/{}", register.name);
        let Ok(reply) = self.client.send(Method::GET, &target, Vec::new()).await else {
            return Ok(());
        };
        if reply.is_stale() {
            return Ok(());
        }
        let seen = match reply.json::<Config>() {
            Ok(config) => Some(number(&config)?),
            Err(error) if error.code() == "not_found" => None,
            Err(_unavailable) => return Ok(()),
        };
        self.counters.reads.fetch_add(1, Ordering::Relaxed);
        register.check(seen, floor).map_err(|wrong| anyhow::anyhow!("a read saw: {wrong}"))
    }
}
