//! Waits until a service runs: live progress, reasons, Ctrl-C, time-out.

use std::time::Duration;

use clap::Args;
use swarm_node::api::types::{ServiceEntry, TaskEntry};
use tokio::time::{Instant, sleep};

use super::convergence::{Convergence, Verdict};
use super::path;
use crate::args::Global;
use crate::client::Client;
use crate::clock::now;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::output::list::filters_json;
use crate::output::progress::Progress;
use crate::parse::duration;

/// First pause between two looks; grows by half each time.
const LOOK_PAUSE: Duration = Duration::from_millis(15);
/// The longest pause between two looks.
const LOOK_PAUSE_MAX: Duration = Duration::from_millis(250);
/// How long reads may fail while waiting: a daemon restarts, a leader is elected.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Options of commands that wait until a service runs.
#[derive(Debug, Clone, Args)]
pub(crate) struct WaitOptions {
    /// Return at once instead of waiting until tasks run
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Tasks must run for so long
    #[arg(long, value_name = "DURATION", value_parser = duration::parse, default_value = "1s")]
    pub(crate) monitor: Duration,
    /// Wait at most so long, then exit with 124; the work goes on
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    pub(crate) timeout: Option<Duration>,
    /// Show no progress
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Waits until all that the service wants has run for the monitor time; Ctrl-C ends the wait only.
///
/// # Errors
/// The time-out, a service that cannot run any more, or a node that does not answer.
pub(crate) async fn wait_until_running(
    client: &Client,
    global: &Global,
    service: &str,
    options: &WaitOptions,
) -> Result<(), Failure> {
    let hint = format!("see `{} service ps {service}`", global.invocation());
    tokio::select! {
        result = watch(client, &hint, service, options) => result,
        _ = tokio::signal::ctrl_c() => {
            output::note(&format!("Stopped watching; the work goes on: {hint}"));
            Ok(())
        }
    }
}

/// As [`wait_until_running`], but leaves Ctrl-C alone. `hint` says how to look later.
///
/// # Errors
/// As [`wait_until_running`].
pub(crate) async fn watch(
    client: &Client,
    hint: &str,
    service: &str,
    options: &WaitOptions,
) -> Result<(), Failure> {
    let mut watch = Watch::new(service, options);
    let ended = match options.timeout {
        Some(span) => tokio::time::timeout(span, watch.run(client)).await.ok(),
        None => Some(watch.run(client).await),
    };
    match ended {
        Some(Ok(tasks)) => {
            watch.progress.finish(&format!("converged: {tasks} of {tasks} tasks run"));
            Ok(())
        }
        Some(Err(failure)) => Err(failure),
        None => {
            let span = duration::format(options.timeout.unwrap_or_default());
            let state = watch.last;
            let message = format!("not running after {span}: {state}; the work goes on: {hint}");
            Err(Failure::new(Exit::TimedOut, message))
        }
    }
}

impl WaitOptions {
    /// Waits for at most `span`, by the defaults.
    pub(crate) fn at_most(span: Duration) -> Self {
        let monitor = Duration::from_secs(1);
        Self { detach: false, monitor, timeout: Some(span), quiet: false }
    }
}

/// One wait.
#[derive(Debug)]
struct Watch {
    service: String,
    filters: String,
    convergence: Convergence,
    progress: Progress,
    /// What was seen last, in words.
    last: String,
}

impl Watch {
    fn new(service: &str, options: &WaitOptions) -> Self {
        let filters = filters_json(&[("service".to_owned(), service.to_owned())]);
        Self {
            service: service.to_owned(),
            filters: filters.unwrap_or_default(),
            convergence: Convergence::new(options.monitor),
            progress: Progress::new(options.quiet),
            last: "nothing is known of its tasks yet".to_owned(),
        }
    }

    /// Looks until the service has converged; gives the number of tasks.
    async fn run(&mut self, client: &Client) -> Result<usize, Failure> {
        let mut pause = LOOK_PAUSE;
        let mut silent_since: Option<Instant> = None;
        loop {
            match self.look(client).await {
                Ok(Some(tasks)) => return Ok(tasks),
                Ok(None) => silent_since = None,
                Err(failure) if failure.exit == Exit::Unreachable => {
                    let since = *silent_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > SILENCE_MAX {
                        return Err(failure);
                    }
                    self.progress.show(&format!("waiting for the node: {failure}"));
                }
                Err(failure) => return Err(failure),
            }
            sleep(pause).await;
            pause = (pause + pause / 2).min(LOOK_PAUSE_MAX);
        }
    }

    async fn look(&mut self, client: &Client) -> Result<Option<usize>, Failure> {
        let service: ServiceEntry = client.get(&path(&self.service), &[]).await?;
        let tasks: Vec<TaskEntry> = client.get("/v1/tasks", &[("filters", &self.filters)]).await?;
        let name = &service.service.spec.name;
        match self.convergence.judge(&service, &tasks, Instant::now()) {
            Verdict::Converged { tasks } => Ok(Some(tasks)),
            Verdict::Stuck(reason) => Err(Failure::failed(format!(
                "service {name} does not run: {reason}; mend what made it end, then start it again \
                 with `swarm service update --force {name}`"
            ))),
            Verdict::Waiting { running, desired, reasons, next } => {
                for reason in &reasons {
                    self.progress.say(reason);
                }
                self.last = format!("{running} of {desired} tasks of {name} run");
                if let Some(next) = next {
                    let span = duration::in_words(next.since(now())).to_lowercase();
                    self.last = format!("{}, the next start is in {span}", self.last);
                }
                self.progress.show(&self.last);
                if let Some(reason) = reasons.first() {
                    self.last = format!("{} ({reason})", self.last);
                }
                Ok(None)
            }
        }
    }
}
