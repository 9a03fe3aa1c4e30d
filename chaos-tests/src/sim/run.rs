//! One run: a runtime with paused time, a cluster, clients, an observer, and a report of it all.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use futures::FutureExt;
use futures::future::BoxFuture;
use swarm_net::task::TaskGroup;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::chance::Chance;
use super::cluster::{Cluster, Shape};
use super::converge;
use super::faults::Faults;
use super::ledger::Ledger;
use super::workload::Client;
use super::{asked, observer, scenarios};
use crate::history::Record;

/// How long clients may take to get their last answers once everything is sound.
const LAST_ANSWERS: Duration = Duration::from_secs(60);

/// How soon all members of a new cluster follow its leader.
const STARTED_WITHIN: Duration = Duration::from_secs(10);

/// What a scenario does with its run.
pub type Body = for<'a> fn(&'a mut Run) -> BoxFuture<'a, anyhow::Result<()>>;

/// A run under way.
#[derive(Debug)]
pub struct Run {
    /// The cluster.
    pub cluster: Cluster,
    /// What was acknowledged.
    pub ledger: Ledger,
    /// For the scenario's own choices.
    pub chance: Chance,
    clients: TaskGroup,
    stop: CancellationToken,
}

/// How a run went.
#[derive(Debug)]
pub struct Report {
    /// `random`, or the scenario.
    pub name: String,
    /// Its seed.
    pub seed: u64,
    /// What went wrong first, if something did.
    pub failure: Option<String>,
    /// Stands for everything that happened.
    pub hash: u64,
    /// Everything that happened.
    pub lines: Vec<String>,
    /// Faults, load and checks, counted.
    pub counts: BTreeMap<&'static str, u64>,
    /// What clients asked and were answered.
    pub history: Vec<Record>,
    /// Simulated time that passed.
    pub simulated: Duration,
}

impl Run {
    /// Starts clients that write and read until [`Run::stop_clients`].
    pub fn start_clients(&mut self, number: u32) {
        for number in 1..=number {
            let (world, seed) = (self.cluster.world.clone(), self.cluster.seed());
            let client = Client::new(world, self.ledger.clone(), seed, number);
            self.clients.spawn("client", client.run(self.stop.clone()));
        }
    }

    /// Ends the clients: each gets its last answer.
    ///
    /// # Errors
    /// When one does not, although nothing is broken any more.
    pub async fn stop_clients(&mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        let all = async {
            while !self.clients.running().is_empty() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(LAST_ANSWERS, all).await.context("a client never got its last answer")
    }

    /// Ends clients, then demands convergence. Faults must be over.
    ///
    /// # Errors
    /// The first demand that is not met.
    pub async fn settle(&mut self) -> anyhow::Result<()> {
        self.cluster.world.check()?;
        self.stop_clients().await?;
        converge::demand(&self.cluster, &self.ledger).await?;
        asked::check(&self.cluster, &self.ledger)
    }
}

/// Runs `seed` with a random cluster, random load and random faults.
pub fn random(seed: u64) -> Report {
    let mut chance = Chance::new(seed, "shape");
    let shape = Shape {
        managers: if chance.percent(60) { 3 } else { 5 },
        workers: chance.between(0, 2),
        snapshot_interval: if chance.percent(50) { 100 } else { 10_000 },
    };
    simulate("random", seed, shape, |run| {
        async move {
            let clients = run.chance.between(2, 5);
            run.start_clients(clients);
            sleep(run.chance.millis(0, 2000)).await;
            let mut faults = Faults::new(run.cluster.seed());
            let span = Duration::from_secs(u64::from(run.chance.between(20, 50)));
            faults.run(&mut run.cluster, span).await?;
            faults.end(&mut run.cluster).await?;
            run.settle().await
        }
        .boxed()
    })
}

/// Runs the scenario of this name.
pub fn scenario(name: &str, seed: u64) -> Option<Report> {
    let scenario = scenarios::ALL.iter().find(|scenario| scenario.name == name)?;
    Some(simulate(scenario.name, seed, scenario.shape, scenario.body))
}

/// One run on a runtime of its own.
pub fn simulate(name: &str, seed: u64, shape: Shape, body: Body) -> Report {
    let mut report = Report {
        name: name.to_owned(),
        seed,
        failure: None,
        hash: 0,
        lines: Vec::new(),
        counts: BTreeMap::new(),
        history: Vec::new(),
        simulated: Duration::ZERO,
    };
    let mut builder = tokio::runtime::Builder::new_current_thread();
    match builder.enable_time().start_paused(true).build() {
        Ok(runtime) => runtime.block_on(Box::pin(whole(&mut report, shape, body))),
        Err(error) => report.failure = Some(error.to_string()),
    }
    report
}

async fn whole(report: &mut Report, shape: Shape, body: Body) {
    let begun = tokio::time::Instant::now();
    let cluster = match Box::pin(Cluster::start(report.seed, shape)).await {
        Ok(cluster) => cluster,
        Err(error) => {
            report.failure = Some(format!("the cluster did not come up: {error:#}"));
            return;
        }
    };
    let world = cluster.world.clone();
    let watchers = TaskGroup::new();
    let stop = CancellationToken::new();
    watchers.spawn("observer", observer::run(world.clone(), stop.clone()));
    let mut run = Run {
        cluster,
        ledger: Ledger::default(),
        chance: Chance::new(report.seed, &report.name),
        clients: TaskGroup::new(),
        stop: CancellationToken::new(),
    };
    let ready = converge::wait_until(&run.cluster, "a settled start", STARTED_WITHIN, || {
        converge::settled(&run.cluster)
    });
    let result = match ready.await {
        Ok(()) => body(&mut run).await,
        Err(error) => Err(error),
    };
    stop.cancel();
    let failure = world.check().and(result).err();
    report.failure = failure.map(|error| format!("{error:#}"));
    (report.hash, report.lines) = world.trace();
    report.counts = world.counts();
    report.history = world.history.records();
    report.simulated = begun.elapsed();
    run.cluster.stop().await;
}
