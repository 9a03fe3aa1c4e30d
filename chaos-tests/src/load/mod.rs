//! The load of a chaos run: clients on registers and services over all nodes, and its history.
//!
//! Clients behave as real ones do: a node that is not there sends them to the next one, an answer
//! that does not come leaves the fate of the write open.

mod churn;
mod client;
mod journal;
mod keys;

pub use churn::{Churn, Churned, updated};
pub use journal::{Journal, Span};

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::history::{F, Kind, Record};
use crate::real::Cluster;
use client::Worker;
use keys::Keys;

/// How hard a run is driven.
#[derive(Debug, Clone, Copy)]
pub struct Pressure {
    /// Clients, evenly over all nodes.
    pub clients: usize,
    /// What one client pauses after each operation.
    pub pause: Duration,
}

impl Default for Pressure {
    /// Two clients a node of seven: up to 300 operations a second, when nothing holds them up.
    fn default() -> Self {
        Self { clients: 14, pause: Duration::from_millis(45) }
    }
}

/// A running load.
#[derive(Debug)]
pub struct Load {
    workers: JoinSet<()>,
    stop: CancellationToken,
    journal: Arc<Journal>,
    acknowledged: Arc<AtomicU64>,
}

/// What is left of a load.
#[derive(Debug)]
pub struct Done {
    /// All records, in the order in which they were made.
    pub records: Vec<Record>,
    /// Where they are written to.
    pub path: PathBuf,
    /// How long the load ran.
    pub ran: Duration,
}

impl Load {
    /// Starts clients on every node; keys begin with `prefix`, the history goes to `path`.
    ///
    /// # Errors
    /// When the history's file cannot be made.
    pub fn start(cluster: &Cluster, pressure: Pressure, prefix: &str, path: &Path) -> Result<Self> {
        let mut load = Self {
            workers: JoinSet::new(),
            stop: CancellationToken::new(),
            journal: Arc::new(Journal::create(path)?),
            acknowledged: Arc::default(),
        };
        let keys = Arc::new(Keys::new(prefix));
        let sockets: Vec<_> =
            cluster.nodes().iter().map(crate::real::NodeProcess::socket).collect();
        for number in 0..pressure.clients {
            let worker = Worker {
                number,
                home: number % sockets.len(),
                sockets: sockets.clone(),
                tasks: cluster.tasks().clone(),
                pause: pressure.pause,
                keys: keys.clone(),
                journal: load.journal.clone(),
                acknowledged: load.acknowledged.clone(),
            };
            load.workers.spawn(worker.run(load.stop.clone()));
        }
        Ok(load)
    }

    /// Writes acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// The history so far.
    pub fn journal(&self) -> Arc<Journal> {
        self.journal.clone()
    }

    /// Ends the load; operations under way are waited for.
    ///
    /// # Errors
    /// When a client panicked.
    pub async fn stop(mut self) -> Result<Arc<Journal>> {
        self.journal.closing();
        self.stop.cancel();
        while let Some(ended) = self.workers.join_next().await {
            ended.context("a client of the load panicked")?;
        }
        Ok(self.journal)
    }
}

impl Done {
    /// How many operations of this kind ended so.
    pub fn count(&self, f: F, kind: Kind) -> usize {
        self.records.iter().filter(|record| record.f == f && record.kind == kind).count()
    }

    /// Answered operations a second.
    pub fn rate(&self) -> f64 {
        let answered = self.records.iter().filter(|record| record.kind == Kind::Ok).count();
        f64::from(u32::try_from(answered).unwrap_or(u32::MAX)) / self.ran.as_secs_f64().max(0.001)
    }
}
