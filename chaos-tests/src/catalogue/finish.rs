//! The end of every run: the load stops, the cluster heals, and everything that must hold is checked.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use http::Method;
use swarm_model::config::Config;
use swarm_node::api::types::ServiceEntry;

use super::stage::Stage;
use super::verdict::invalid;
use super::{Sheet, watch::Watched};
use crate::history::{F, History, Kind, Record, blind, revisions};
use crate::invariants::{every_program, programs, programs_are_tasks, removed_services_are_gone};
use crate::load::{Churned, Done, Journal, updated};
use crate::real::{Cluster, Stopwatch, processes, wait_until};
use crate::register::number;

/// C: after the heal one leader and everybody caught up within this.
pub(super) const CAUGHT_UP: Duration = Duration::from_secs(30);
/// Z: removed services are gone within this.
const GONE: Duration = Duration::from_secs(30);
/// R and I: replicas are exact within this.
const EXACT: Duration = Duration::from_secs(60);
/// A: the most memory of a daemon.
const RSS_MIB: u64 = 256;
/// How long a node may take to answer a read at the end.
const ANSWERS: Duration = Duration::from_secs(30);
/// The processes that read at the end, one a node, behind all clients.
const READERS: u32 = 1_000;

impl Stage {
    /// Ends the run and checks it.
    ///
    /// # Errors
    /// What does not hold, or why the run shows nothing.
    pub async fn finish(self) -> Result<Sheet> {
        Ok(self.finish_keeping().await?.0)
    }

    /// As [`Stage::finish`]; the cluster goes on.
    ///
    /// # Errors
    /// What does not hold, or why the run shows nothing.
    pub async fn finish_keeping(self) -> Result<(Sheet, Cluster)> {
        let Self { mut cluster, mut sheet, watch, load, churn, floor } = self;
        let heal = Stopwatch::start();
        let mut churned = match churn {
            Some(churn) => churn.stop().await?,
            None => Default::default(),
        };
        let journal = load.stop().await?;
        cluster.settled().await.context("C: the cluster is not whole again")?;
        sheet.at_most("C caught up after the heal", heal.elapsed(), CAUGHT_UP);
        let finals = read_all(&cluster, &journal).await?;
        let done = journal.done().map_err(|error| invalid(format!("{error:#}")))?;
        tell_load(&mut sheet, &done, churned.changes);
        histories(&mut sheet, &done, &finals)?;
        if !churned.open.is_empty() {
            churned.settle(&mut cluster.client(0)).await.context("Z")?;
        }
        let settling = Stopwatch::start();
        gone(&cluster, &churned).await.context("Z")?;
        let what = format!("Z {} removed services gone", churned.removed.len());
        sheet.at_most(&what, settling.elapsed(), GONE);
        let tasks = programs_are_tasks(&cluster, 0, EXACT).await.context("R I")?;
        services(&cluster, &churned).await?;
        let what = format!("R I {tasks} tasks exact, {} services kept", churned.kept.len());
        sheet.at_most(&what, settling.elapsed(), EXACT);
        let cleared: Vec<_> = churned.kept.keys().cloned().collect();
        churned.clear(&mut cluster.client(0)).await.context("Z")?;
        for name in cleared {
            removed_services_are_gone(&cluster, &name).await.context("Z")?;
        }
        let watched = watch.stop().await.context("E M T")?;
        alive(&mut sheet, &mut cluster, &watched)?;
        if done.rate() < floor {
            return Err(invalid(format!(
                "the load was too low to show anything: {:.0} operations/s, {floor} are needed",
                done.rate()
            )));
        }
        Ok((sheet, cluster))
    }
}

/// What a register holds at the end.
#[derive(Debug, Clone, Copy)]
struct Held {
    value: u64,
    version: u64,
}

/// Reads every register through every node; the reads are part of the history.
async fn read_all(
    cluster: &Cluster,
    journal: &Journal,
) -> Result<BTreeMap<String, Vec<Option<Held>>>> {
    let mut finals: BTreeMap<String, Vec<Option<Held>>> = BTreeMap::new();
    let keys = journal.keys();
    for node in 0..cluster.len() {
        let mut client = cluster.client(node);
        let reader = READERS + u32::try_from(node)?;
        for key in &keys {
            let target = format!("/v1/configs/{key}?stale=false");
            let record = Record::read(0, reader, key);
            let reply = wait_until(&format!("node {node} reads {key}"), ANSWERS, async || {
                journal.note(record.clone());
                let reply = client.send(Method::GET, &target, Vec::new()).await.ok();
                let reply = reply.filter(|it| it.status.is_success() || it.status == 404);
                if reply.is_none() {
                    journal.note(record.ended(0, Kind::Fail));
                }
                reply
            })
            .await?;
            let at = reply.headers.get("swarm-revision").context("no revision")?;
            let held = if reply.status.is_success() {
                let config: Config = reply.json()?;
                Some(Held { value: number(&config)?, version: config.meta.version.0 })
            } else {
                None
            };
            let value = held.map(|held| held.value);
            journal.note(record.answered(0, value, at.to_str()?.parse()?));
            finals.entry(key.clone()).or_default().push(held);
        }
    }
    Ok(finals)
}

/// Z: no program of a removed service is left.
async fn gone(cluster: &Cluster, churned: &Churned) -> Result<()> {
    let mut last = Vec::new();
    let gone = wait_until("the programs of removed services end", GONE, async || {
        last = every_program(cluster).ok()?;
        last.retain(|(service, _program)| churned.removed.contains(service));
        last.is_empty().then_some(())
    });
    gone.await.map_err(|error| error.context(format!("{last:?}")))
}

/// D of services: every node knows those that were acknowledged as they were acknowledged, none that
/// was removed, and what runs of them has what was set last.
async fn services(cluster: &Cluster, churned: &Churned) -> Result<()> {
    let mut there = BTreeMap::new();
    for node in 0..cluster.len() {
        let mut client = cluster.client(node);
        let mut last = String::new();
        let seen = wait_until("a node lists the services as acknowledged", ANSWERS, async || {
            let all: Vec<ServiceEntry> = client.get("/v1/services?stale=false").await.ok()?;
            let specs =
                all.into_iter().map(|it| (it.service.spec.name.to_string(), it.service.spec));
            let specs = specs.collect();
            // One that is removed is listed until its last task has ended.
            let checked = churned.check(&specs);
            last = checked.as_ref().err().cloned().unwrap_or_default();
            checked.is_ok().then_some(specs)
        });
        there = seen.await.map_err(|error| error.context(format!("D: node {node}: {last}")))?;
    }
    for name in churned.kept.keys() {
        let (variable, wanted) = there.get(name).map(|spec| updated(spec)).context("just seen")?;
        for program in programs(cluster, name)? {
            let has = processes::variable(program.pid, variable);
            ensure!(has.as_ref() == wanted, "R: {variable} is {has:?} for {program:?}");
        }
    }
    Ok(())
}

fn tell_load(sheet: &mut Sheet, done: &Done, changes: u64) {
    let writes = [Kind::Ok, Kind::Fail, Kind::Unknown].map(|kind| done.count(F::Write, kind));
    let reads = done.count(F::Read, Kind::Ok);
    let [ok, failed, unknown] = writes;
    sheet.fact(
        "load",
        format!(
            "{:.0} operations/s for {:.0} s: {ok} writes acknowledged, {failed} failed, \
             {unknown} unknown, {reads} reads, {changes} changes of services",
            done.rate(),
            done.ran.as_secs_f64()
        ),
    );
    sheet.fact("history", done.path.display().to_string());
}

/// D and L.
fn histories(
    sheet: &mut Sheet,
    done: &Done,
    finals: &BTreeMap<String, Vec<Option<Held>>>,
) -> Result<()> {
    kept(done, finals).context("D")?;
    let broken = |why: String| anyhow::anyhow!("L: {why} (history: {})", done.path.display());
    let history = History::new(&done.records).map_err(broken)?;
    let ordered = revisions::check(&history, revisions::Evidence::Nothing).map_err(broken)?;
    let blind = blind::check(&history).map_err(broken)?;
    let (registers, looked) = (blind.registers, ordered.placed);
    sheet.fact(
        "D L",
        format!(
            "{} registers kept; {looked} operations in order of their revisions; {registers} \
             registers linearizable by times and values, {} too tangled to tell",
            finals.len(),
            blind.given_up
        ),
    );
    // One in ten is more than a busy machine explains.
    if registers == 0 || blind.given_up * 10 > registers + blind.given_up {
        return Err(invalid(format!(
            "too tangled to judge: {} of {} registers",
            blind.given_up,
            registers + blind.given_up
        )));
    }
    Ok(())
}

/// Every acknowledged write is there, or what replaced it is.
fn kept(done: &Done, finals: &BTreeMap<String, Vec<Option<Held>>>) -> Result<()> {
    let mut newest: BTreeMap<&str, &Record> = BTreeMap::new();
    for record in done.records.iter().filter(|it| it.f == F::Write && it.kind == Kind::Ok) {
        let known = newest.entry(&record.key).or_insert(record);
        if record.revision > known.revision {
            *known = record;
        }
    }
    for (key, write) in newest {
        let held = finals.get(key).with_context(|| format!("{key} was not read at the end"))?;
        for (node, held) in held.iter().enumerate() {
            let Some(held) = held else { bail!("{key} is gone at node {node}: {write:?}") };
            let revision = write.revision.context("an acknowledged write without a revision")?;
            ensure!(held.version >= revision, "{key} at node {node} is {held:?}, lost: {write:?}");
            ensure!(
                held.version > revision || Some(held.value) == write.value,
                "{key} at node {node} is {held:?}, not what was acknowledged: {write:?}"
            );
        }
    }
    Ok(())
}

/// A: every daemon runs, and none took too much memory.
fn alive(sheet: &mut Sheet, cluster: &mut Cluster, watched: &Watched) -> Result<()> {
    for number in 0..cluster.len() {
        let node = cluster.node(number);
        ensure!(node.is_running(), "A: the daemon of node {number} ended: {}", node.log_end());
    }
    let Watched { looks, leaders, rss } = watched;
    sheet.fact("E M T", format!("{looks} looks at nodes, {leaders} terms with one leader each"));
    sheet.no_more("A most memory of a daemon, MiB", rss / (1024 * 1024), RSS_MIB);
    Ok(())
}
