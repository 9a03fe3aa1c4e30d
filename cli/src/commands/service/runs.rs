//! `swarm service runs`, `run` and `stop-run`: what a job did and does.

use clap::Args;
use serde::Serialize;
use swarm_model::units::Timestamp;
use swarm_node::api::types::{RunEntry, ServiceEntry, Written};

use super::{Expect, WaitOptions, path, wait_for_update};
use crate::args::Global;
use crate::client::Client;
use crate::clock::{ago, now};
use crate::commands::guard::Guard;
use crate::commands::stale_query;
use crate::exit::Failure;
use crate::output;
use crate::output::list::{self, Column, Cut, Row, ShowOptions};
use crate::parse::duration;

/// List the runs of a job
///
/// The newest first. STATE is active, complete, failed, replaced (by another run), stopped, or skipped (its
/// time came while another run went on). REASON says why, or whose end an active one waits for. DUE is the
/// time of the schedule that a run is for.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm service runs batch\n  \
    swarm service runs batch --format '{{.Run}} {{.State}} {{.Succeeded}}'")]
pub(crate) struct Runs {
    /// Name or id
    service: String,
    #[command(flatten)]
    show: ShowOptions,
}

const COLUMNS: [Column; 8] = [
    ("Run", "RUN", Cut::No),
    ("State", "STATE", Cut::No),
    ("Succeeded", "SUCCEEDED", Cut::No),
    ("Failures", "FAILURES", Cut::No),
    ("Due", "DUE", Cut::No),
    ("Started", "STARTED", Cut::No),
    ("Duration", "DURATION", Cut::No),
    ("Reason", "REASON", Cut::Text),
];

/// One run of the list.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RunRow {
    run: u64,
    state: String,
    succeeded: String,
    running: u32,
    failures: u32,
    due: Option<Timestamp>,
    started: String,
    started_at: Timestamp,
    ended_at: Option<Timestamp>,
    duration: String,
    reason: String,
}

impl Row for RunRow {}

impl From<RunEntry> for RunRow {
    fn from(run: RunEntry) -> Self {
        let took = run.ended_at.unwrap_or_else(now).since(run.started_at);
        Self {
            run: run.number,
            succeeded: format!("{}/{}", run.succeeded, run.completions),
            running: run.running,
            failures: run.failures,
            due: run.due,
            started: ago(run.started_at),
            started_at: run.started_at,
            ended_at: run.ended_at,
            duration: duration::in_words(took).to_lowercase(),
            reason: run.reason,
            state: run.state,
        }
    }
}

impl Runs {
    /// Lists them.
    ///
    /// # Errors
    /// When there is no such service, or it is no job.
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        let runs = runs(client, &self.service).await?;
        let rows: Vec<_> = runs.into_iter().map(RunRow::from).collect();
        list::show(&rows, &COLUMNS, &self.show)
    }
}

/// The runs of a job, the newest first.
///
/// # Errors
/// When there is no such job, or no node answers.
pub(super) async fn runs(client: &Client, service: &str) -> Result<Vec<RunEntry>, Failure> {
    client.get(&format!("{}/runs", path(service)), stale_query(false)).await
}

/// Start a run of a job and wait until it is complete
///
/// One run goes on at a time, unless --overlap says otherwise: while there is one, this fails with exit
/// code 4.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm service run batch\n  \
    swarm service run --detach batch")]
pub(crate) struct StartRun {
    /// Name or id
    service: String,
    #[command(flatten)]
    wait: WaitOptions,
    #[command(flatten)]
    guard: Guard,
}

impl StartRun {
    /// Starts it, shows what was named and waits.
    ///
    /// # Errors
    /// When there is no such job, a run goes on, or this one fails.
    pub(super) async fn run(self, client: &Client, global: &Global) -> Result<(), Failure> {
        let target = format!("{}/run", path(&self.service));
        let written: Written = client.post(&target, &self.guard.query(&[]), &()).await?;
        output::line(&self.service)?;
        if self.wait.detach {
            return Ok(());
        }
        let expect = Expect::update(written.version);
        wait_for_update(client, global, &written.id, &self.wait, expect).await
    }
}

/// Stop a run of a job
///
/// Its tasks are asked to end. Without a number, all runs that go on.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm service stop-run batch\n  \
    swarm service stop-run batch 3")]
pub(crate) struct StopRun {
    /// Name or id
    service: String,
    /// The number of the run
    #[arg(value_name = "RUN")]
    number: Option<u64>,
    #[command(flatten)]
    guard: Guard,
}

impl StopRun {
    /// Stops it and shows what was named.
    ///
    /// # Errors
    /// When there is no such run.
    pub(super) async fn run(self, client: &Client) -> Result<(), Failure> {
        let target = format!("{}/stop-run", path(&self.service));
        let number = self.number.map(|number| number.to_string());
        let query: Vec<_> = number.iter().map(|number| ("run", number.as_str())).collect();
        let _written: Written = client.post(&target, &self.guard.query(&query), &()).await?;
        output::line(&self.service)
    }
}

/// How far a job's newest run is, as long as that matters: it goes on, or did not end well.
pub(super) fn run_line(entry: &ServiceEntry) -> Option<String> {
    let done = ["complete", "skipped"];
    let run = entry.run_status.as_ref().filter(|run| !done.contains(&run.state.as_str()))?;
    let (name, progress) = (&entry.service.spec.name, progress(run));
    let why = if run.reason.is_empty() { "" } else { ": " };
    Some(format!("run {} of {name}: {}, {progress}{why}{}", run.number, run.state, run.reason))
}

/// What a run has done and does, in words.
pub(super) fn progress(run: &RunEntry) -> String {
    let mut text = format!("{} of {} succeeded", run.succeeded, run.completions);
    if run.state == "active" {
        text = format!("{text}, {} running", run.running);
    }
    if run.failures > 0 {
        text = format!("{text}, {} failed", run.failures);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use serde_json::{Value, json};

    use super::*;
    use crate::commands::fake_node::{FakeNode, service, written};

    fn job() -> Value {
        let mut job = service("Update", "Completed", "");
        job["Spec"]["Mode"] = json!({"ReplicatedJob": {"TotalCompletions": 2}});
        job
    }

    fn run(reason: &str) -> Value {
        json!({
            "Number": 3, "Began": 7, "State": "active", "Reason": reason, "Completions": 2,
            "Succeeded": 0, "Running": 0, "Failures": 0, "TemplateVersion": 1,
            "StartedAt": "2026-01-01T00:00:00Z", "EndedAt": null, "Due": null
        })
    }

    #[tokio::test]
    async fn a_run_that_was_forgotten_while_it_was_waited_for_is_no_success() {
        let looks = AtomicU32::new(0);
        let node = FakeNode::new(move |request| match request {
            "POST /v1/services/web/run" => written(11),
            _ if request.contains("/runs") => match looks.fetch_add(1, Ordering::Relaxed) {
                0 => json!([run("")]),
                _ => json!([]),
            },
            _ if request.starts_with("GET /v1/tasks") => json!([]),
            _ => job(),
        });
        let failure = node.run("service run --timeout 10s web").await.expect_err("who knows");
        assert_eq!(failure.exit.code(), 1);
        assert!(failure.message.starts_with("run 3 of web ended, and was forgotten"), "{failure}");
    }

    #[test]
    fn a_run_that_waits_says_for_whom() {
        let mut job = job();
        job["RunStatus"] = run("waits for the end of web.run2.1");
        let entry: ServiceEntry = serde_json::from_value(job).expect("is a service");
        let said =
            "run 3 of web: active, 0 of 2 succeeded, 0 running: waits for the end of web.run2.1";
        assert_eq!(run_line(&entry).as_deref(), Some(said));
    }
}
