//! What several of the tests need.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::de::DeserializeOwned;
use swarm_chaos::invariants::{
    Observer, acknowledged_writes_are_kept, at_most_one_task_a_slot, no_orphans,
};
use swarm_chaos::real::{Client, ClientError, Cluster, Output};
use swarm_chaos::workload::Workload;

/// Long enough for anything that should happen at once, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// For hundreds of processes on two cores.
pub(crate) const LONG: Duration = Duration::from_secs(90);

/// A watched cluster under load.
pub(crate) struct Run {
    load: Workload,
    observer: Observer,
}

impl Run {
    /// Starts load and watch.
    pub(crate) fn start(cluster: &Cluster) -> Self {
        Self { load: Workload::start(cluster, 4), observer: Observer::start(cluster) }
    }

    /// Waits for some more acknowledged writes: the cluster works.
    pub(crate) async fn goes_on(&self, writes: u64) -> Result<()> {
        let goal = self.load.acknowledged() + writes;
        swarm_chaos::real::wait_until("writes are accepted", SOON, async || {
            (self.load.acknowledged() >= goal).then_some(())
        })
        .await
    }

    /// Ends load and watch and checks everything that must hold at the end.
    pub(crate) async fn verify(self, cluster: &Cluster, services: &[&str]) -> Result<()> {
        let done = self.load.stop().await?;
        self.observer.stop().await?;
        done.at_least(20)?;
        ensure!(done.reads > 0, "nothing was read: {done:?}");
        cluster.settled().await?;
        acknowledged_writes_are_kept(cluster, &done.registers).await?;
        for service in services {
            cluster.converged(0, service, LONG).await?;
            no_orphans(cluster, 0, service, SOON).await?;
            at_most_one_task_a_slot(cluster, service)?;
        }
        Ok(())
    }
}

/// Expects a refusal with this code whose message says `word`; gives the message.
pub(crate) fn refused<T: std::fmt::Debug>(
    result: Result<T, ClientError>,
    code: &str,
    word: &str,
) -> Result<String> {
    match result {
        Err(ClientError::Refused(_status, body)) => {
            ensure!(body.code == code, "code {}, not {code}: {}", body.code, body.message);
            ensure!(body.message.contains(word), "\"{}\" does not say \"{word}\"", body.message);
            Ok(body.message)
        }
        other => anyhow::bail!("not refused with {code}: {other:?}"),
    }
}

/// Expects a command to fail with this exit code and to say `word`.
pub(crate) fn fails(output: &Output, code: i32, word: &str) -> Result<()> {
    ensure!(output.code == code, "exit code {}, not {code}: {}", output.code, output.stderr);
    ensure!(output.stderr.contains(word), "\"{}\" does not say \"{word}\"", output.stderr);
    Ok(())
}

/// Expects a node to answer as if nothing had happened.
pub(crate) async fn alive<T: DeserializeOwned>(client: &mut Client, target: &str) -> Result<T> {
    Ok(client.get(target).await?)
}

/// All files below `from`, but not sockets and process ids.
pub(crate) fn copy_dir(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else if entry.file_type()?.is_file() {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Ends a test that this machine cannot run: says so, also in the file that `SWARM_SKIPPED` names.
#[expect(clippy::print_stderr, reason = "a skipped test says so where it is run")]
pub(crate) fn skip(why: &str) -> Result<()> {
    eprintln!("skipped: {why}");
    if let Some(path) = std::env::var_os("SWARM_SKIPPED") {
        let mut file = fs::File::options().create(true).append(true).open(path)?;
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        file.write_all(format!("{test}: {why}\n").as_bytes())?;
    }
    Ok(())
}
