//! Writes through the API, beside the disk's own limit and etcd with as many clients and connections.
//!
//! The systems take turns, so that a busy minute of the machine hits them alike.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use swarm_node::api::types::Written;

use super::etcd::{self, Etcd, EtcdWriter};
use super::load::{Load, Writer, drive};
use super::raw::RawWriter;
use super::report::{Report, Row};
use super::samples::{Samples, Span, median};
use crate::real::{Client, Cluster, spec};

const CLIENTS: [usize; 4] = [1, 16, 64, 256];
const TIME: Duration = Duration::from_secs(2);

/// Which nodes the clients talk to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// All to the leader.
    Leader,
    /// Evenly to all nodes.
    Spread,
}

impl Writer for Client {
    async fn write(&mut self, key: String, value: Vec<u8>) -> Result<()> {
        let spec = spec::config(&key, &value)?;
        self.post::<Written>("/v1/configs/create", &spec).await?;
        Ok(())
    }
}

/// One system's rounds.
#[derive(Debug, Default)]
struct Figures {
    rates: Vec<f64>,
    latencies: Samples,
}

impl Figures {
    fn add(&mut self, load: Load) {
        self.rates.push(load.rate);
        self.latencies.extend(load.latencies);
    }

    fn rate(&self) -> f64 {
        median(&self.rates)
    }

    fn shown(&self) -> String {
        let (p50, p99) = (self.latencies.median(), self.latencies.percentile(99));
        format!("{:.0}/s, p50 {}, p99 {}", self.rate(), Span(p50), Span(p99))
    }
}

/// Adds a row for each number of clients.
pub(super) async fn run(aim: Aim, runs: usize, report: &mut Report) -> Result<()> {
    let cluster = Cluster::start(3, 0).await?;
    let etcd = if etcd::is_installed() {
        Some(Etcd::start(cluster.scratch()).await?)
    } else {
        report.note("etcd is not installed: skipped");
        None
    };
    for clients in CLIENTS {
        let (raw, ours, theirs) = point(&cluster, etcd.as_ref(), aim, clients, runs).await?;
        let to = if aim == Aim::Leader { "the leader" } else { "all nodes" };
        let etcd_rate = theirs.as_ref().map(|it| it.rate());
        let etcd_p99 = theirs.as_ref().map(|it| it.latencies.percentile(99));
        report.add(Row {
            what: format!("writes to {to}, {clients} clients"),
            figure: ours.shown(),
            raw: format!("fdatasync {}", raw.shown()),
            ratio: format!("{:.2}", ours.rate() / raw.rate()),
            target: theirs.as_ref().map_or("etcd skipped".to_owned(), |it| {
                format!("etcd {} ({:.2}×)", it.shown(), ours.rate() / it.rate())
            }),
            met: etcd_rate
                .zip(etcd_p99)
                .map(|(rate, p99)| ours.rate() >= rate && ours.latencies.percentile(99) <= p99),
        });
    }
    Ok(())
}

/// All systems in turns with one number of clients: raw, ours, theirs, raw, theirs, ours, …
async fn point(
    cluster: &Cluster,
    etcd: Option<&Etcd>,
    aim: Aim,
    clients: usize,
    runs: usize,
) -> Result<(Figures, Figures, Option<Figures>)> {
    let mut raw = raw_writers(cluster.scratch(), clients)?;
    let leader = cluster.leader().await?;
    let target = |leader: usize, number: usize| match aim {
        Aim::Leader => leader,
        Aim::Spread => number % 3,
    };
    let mut ours: Vec<_> =
        (0..clients).map(|number| cluster.client(target(leader, number))).collect();
    let mut theirs: Vec<EtcdWriter> = Vec::new();
    if let Some(etcd) = etcd {
        let leader = etcd.leader().await?;
        for number in 0..clients {
            theirs.push(etcd.client(target(leader, number)).await?);
        }
    }
    let mut figures = (Figures::default(), Figures::default(), Figures::default());
    for run in 0..runs {
        let prefix = format!("w{aim:?}-{clients}-{run}");
        raw = turn(raw, &prefix, TIME / 2, &mut figures.0).await?;
        if run % 2 == 0 {
            ours = turn(ours, &prefix, TIME, &mut figures.1).await?;
            theirs = turn(theirs, &prefix, TIME, &mut figures.2).await?;
        } else {
            theirs = turn(theirs, &prefix, TIME, &mut figures.2).await?;
            ours = turn(ours, &prefix, TIME, &mut figures.1).await?;
        }
    }
    Ok((figures.0, figures.1, etcd.map(|_| figures.2)))
}

async fn turn<W: Writer>(
    writers: Vec<W>,
    prefix: &str,
    time: Duration,
    figures: &mut Figures,
) -> Result<Vec<W>> {
    if writers.is_empty() {
        return Ok(writers);
    }
    let (writers, load) = drive(writers, prefix, time).await?;
    figures.add(load);
    Ok(writers)
}

fn raw_writers(scratch: &Path, clients: usize) -> Result<Vec<RawWriter>> {
    let writer = RawWriter::start(&scratch.join(format!("raw-{clients}")))?;
    Ok(vec![writer; clients])
}
