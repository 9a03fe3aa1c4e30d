//! Looks at every node all the time: terms, leaders, who is called down, task states, memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use http::Method;
use swarm_model::id::NodeId;
use swarm_model::meta::{Revision, Term};
use swarm_model::node::Reachability;
use swarm_node::api::types::{Info, NodeEntry};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::invariants::{Look, OneLeaderATerm, StatesGoForward};
use crate::real::{Client, Cluster, Stopwatch, processes};

/// Between two looks at one node.
const PACE: Duration = Duration::from_millis(100);
/// Every so many looks also at tasks, nodes and memory.
const WIDE_EVERY: u64 = 10;
/// A node that does not answer is looked at next time.
const PATIENCE: Duration = Duration::from_millis(800);

/// A running watch.
#[derive(Debug)]
pub struct Watch {
    looking: JoinSet<()>,
    stop: CancellationToken,
    clock: Stopwatch,
    seen: Arc<Mutex<Seen>>,
}

/// A leader as it was first seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Led {
    /// When.
    pub at: Duration,
    /// Its term.
    pub term: Term,
    /// It.
    pub leader: NodeId,
}

#[derive(Debug, Default)]
struct Seen {
    looks: u64,
    leaders: OneLeaderATerm,
    led: Vec<Led>,
    forward: StatesGoForward,
    terms: BTreeMap<usize, Term>,
    applied: BTreeMap<usize, (u32, Revision)>,
    downs: BTreeMap<NodeId, Duration>,
    rss: BTreeMap<usize, u64>,
    wrong: Vec<String>,
}

/// What a watch saw.
#[derive(Debug)]
pub struct Watched {
    /// Looks that were answered.
    pub looks: u64,
    /// Terms that had a leader.
    pub leaders: usize,
    /// The most memory that a daemon had, in bytes.
    pub rss: u64,
}

impl Watch {
    /// Starts to look at the nodes of the cluster.
    pub fn start(cluster: &Cluster) -> Self {
        let mut watch = Self {
            looking: JoinSet::new(),
            stop: CancellationToken::new(),
            clock: Stopwatch::start(),
            seen: Arc::default(),
        };
        for (number, node) in cluster.nodes().iter().enumerate() {
            let client = node.client().with_patience(PATIENCE);
            let (seen, stop) = (watch.seen.clone(), watch.stop.clone());
            watch.looking.spawn(look_on(number, client, seen, watch.clock, stop));
        }
        watch
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    /// Time since the watch began.
    pub fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Leaders that were first seen since then.
    pub fn leaders_since(&self, from: Duration) -> Vec<Led> {
        self.seen().led.iter().filter(|led| led.at >= from).copied().collect()
    }

    /// The highest term that any node showed.
    pub fn term(&self) -> u64 {
        self.seen().terms.values().map(|term| term.0).max().unwrap_or_default()
    }

    /// Who was ever called down, and when first.
    pub fn downs(&self) -> BTreeMap<NodeId, Duration> {
        self.seen().downs.clone()
    }

    /// Forgets who was called down before now.
    pub fn forget_downs(&self) {
        self.seen().downs.clear();
    }

    /// Ends the watch.
    ///
    /// # Errors
    /// What was seen that must not be, or that nothing was seen.
    pub async fn stop(mut self) -> Result<Watched> {
        self.stop.cancel();
        while let Some(ended) = self.looking.join_next().await {
            ended.context("a watch panicked")?;
        }
        let seen = self.seen();
        if !seen.wrong.is_empty() {
            bail!("seen while faults happened: {}", seen.wrong.join("; "));
        }
        if seen.looks == 0 {
            bail!("no node ever answered the watch");
        }
        let rss = seen.rss.values().copied().max().unwrap_or_default();
        Ok(Watched { looks: seen.looks, leaders: seen.led.len(), rss })
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn look_on(
    number: usize,
    mut client: Client,
    seen: Arc<Mutex<Seen>>,
    clock: Stopwatch,
    stop: CancellationToken,
) {
    for turn in 0_u64.. {
        if stop.is_cancelled() {
            return;
        }
        if let Ok(info) = client.get::<Info>("/v1/info").await {
            let wide = turn.is_multiple_of(WIDE_EVERY);
            let more = if wide { look_wide(&mut client, &info).await.ok() } else { None };
            lock(&seen).note(number, clock.elapsed(), &info, more);
        }
        tokio::select! {
            () = sleep(PACE) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Tasks and nodes as one node knows them.
async fn look_wide(client: &mut Client, info: &Info) -> Result<(Look, Vec<NodeEntry>)> {
    let reply = client.send(Method::GET, "/v1/tasks?stale=true", Vec::new()).await?;
    let revision = reply.headers.get("swarm-revision").context("no revision")?;
    let revision = Revision(revision.to_str()?.parse()?);
    let look = Look { info: info.clone(), revision, tasks: reply.json()? };
    Ok((look, client.get("/v1/nodes?stale=true").await?))
}

impl Seen {
    fn note(
        &mut self,
        number: usize,
        at: Duration,
        info: &Info,
        more: Option<(Look, Vec<NodeEntry>)>,
    ) {
        self.looks += 1;
        let known = self.terms.insert(number, info.term).unwrap_or_default();
        if known > info.term {
            self.wrong.push(format!("node {number} went back from term {known} to {}", info.term));
        }
        let applied = (info.daemon_pid, info.revision);
        let before = self.applied.insert(number, applied);
        if let Some((_, before)) = before.filter(|(pid, rev)| *pid == applied.0 && *rev > applied.1)
        {
            let now = info.revision;
            self.wrong.push(format!("node {number} went back from revision {before} to {now}"));
        }
        if let Some(leader) = info.leader {
            if !self.led.iter().any(|led| led.term == info.term) {
                self.led.push(Led { at, term: info.term, leader });
            }
            let one = self.leaders.led(info.term, leader);
            self.wrong.extend(one.err());
        }
        if let Some((look, nodes)) = more {
            self.wrong.extend(self.forward.see(&look).err());
            for entry in nodes {
                if entry.node.status.reachability == Reachability::Down {
                    self.downs.entry(entry.node.id).or_insert(at);
                }
            }
            let pid = i32::try_from(info.daemon_pid).unwrap_or_default();
            // Killed meanwhile: its last size stays.
            if let Ok(usage) = processes::usage(pid) {
                let rss = self.rss.entry(number).or_default();
                *rss = usage.rss.max(*rss);
            }
        }
    }
}
