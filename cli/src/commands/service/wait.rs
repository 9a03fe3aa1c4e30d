//! Waits until a service runs: live progress, reasons, Ctrl-C, time-out.

use std::time::Duration;

use clap::Args;
use swarm_model::meta::Version;
use swarm_model::restart::RestartCondition;
use swarm_model::update::{UpdateKind, UpdatePhase};
use swarm_node::api::types::{RunEntry, ServiceEntry, TaskEntry};
use tokio::time::{Instant, sleep};

use super::convergence::{Convergence, Verdict, reasons};
use super::path;
use super::runs::{progress, runs};
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

/// What is waited for: the end of an update, if one began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expect {
    /// Updates that began earlier are somebody else's; `None` is not interested in any.
    since: Option<Version>,
    /// Whether the way back is what was asked for.
    back: bool,
}

impl Expect {
    /// The end of the update that became of the service's `version`, if one did.
    pub(super) fn update(version: Version) -> Self {
        Self { since: Some(version), back: false }
    }

    /// The end of the rollback that did.
    pub(super) fn rollback(version: Version) -> Self {
        Self { since: Some(version), back: true }
    }

    /// The end of the update that goes on; `back` when that was a rollback before.
    pub(super) fn resumed(back: bool) -> Self {
        Self { since: Some(Version(0)), back }
    }

    /// How far the update is; nothing when there is none that matters.
    fn judge(self, entry: &ServiceEntry) -> Course {
        let since = self.since.unwrap_or(Version(u64::MAX));
        let service = &entry.service;
        let Some(update) = service.update.as_ref().filter(|update| update.id.0 >= since.0) else {
            return Course::Free;
        };
        let (name, reason) = (&service.spec.name, &update.reason);
        let counts = entry.service_status;
        let verb = match update.kind {
            UpdateKind::Update => "updating",
            UpdateKind::Rollback => "rolling back",
        };
        if update.awaits_promotion() {
            let count = counts.updated_tasks;
            return Course::Waits(format!(
                "the canary runs: {count} of {} tasks are updated; `swarm service promote {name}` brings \
                 the others, `swarm service rollback {name}` takes it back",
                counts.desired_tasks
            ));
        }
        match (update.kind, update.phase) {
            (_, UpdatePhase::Rolling) => {
                let why = if reason.is_empty() || self.back { "" } else { ": " };
                let reason = if why.is_empty() { "" } else { reason };
                let (done, all) = (counts.updated_tasks, counts.desired_tasks);
                Course::Rolling(format!("{verb} {name}: {done} of {all} tasks{why}{reason}"))
            }
            (_, UpdatePhase::Paused) => Course::Failed(format!(
                "{verb} {name} is paused: {reason}; mend it and update again, let it go on with \
                 `swarm service resume {name}`, or go back with `swarm service rollback {name}`"
            )),
            (UpdateKind::Rollback, UpdatePhase::Completed) if !self.back => {
                Course::Failed(format!(
                    "service {name} was rolled back: {reason}; it runs as before, see \
                     `swarm service ps {name}` and `swarm service diff {name}`"
                ))
            }
            (UpdateKind::Update | UpdateKind::Rollback, UpdatePhase::Completed) => Course::Free,
        }
    }
}

/// How far an update is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Course {
    /// It decides nothing: there is none, or it is completed.
    Free,
    /// It goes on.
    Rolling(String),
    /// It waits for somebody to decide, as was asked.
    Waits(String),
    /// It did not end as was asked.
    Failed(String),
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
    wait_for_update(client, global, service, options, Expect { since: None, back: false }).await
}

/// The same, but for the end of an update, too.
///
/// # Errors
/// As [`wait_until_running`], and when the update was paused or rolled back.
pub(super) async fn wait_for_update(
    client: &Client,
    global: &Global,
    service: &str,
    options: &WaitOptions,
    expect: Expect,
) -> Result<(), Failure> {
    let hint = format!("see `{} service ps {service}`", global.invocation());
    tokio::select! {
        result = watch_for(client, &hint, service, options, expect) => result,
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
    watch_for(client, hint, service, options, Expect { since: None, back: false }).await
}

async fn watch_for(
    client: &Client,
    hint: &str,
    service: &str,
    options: &WaitOptions,
    expect: Expect,
) -> Result<(), Failure> {
    let mut watch = Watch::new(service, options, expect);
    let ended = match options.timeout {
        Some(span) => tokio::time::timeout(span, watch.run(client)).await.ok(),
        None => Some(watch.run(client).await),
    };
    match ended {
        Some(Ok(end)) => {
            watch.progress.finish(&end);
            Ok(())
        }
        Some(Err(failure)) => Err(failure),
        None => {
            let span = duration::format(options.timeout.unwrap_or_default());
            let state = watch.last;
            let verb = if watch.is_job { "not complete" } else { "not running" };
            let message = format!("{verb} after {span}: {state}; the work goes on: {hint}");
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
    expect: Expect,
    progress: Progress,
    /// What was seen last, in words.
    last: String,
    /// Whether it is about a run of a job.
    is_job: bool,
    /// The number of that run, once it was seen.
    run: Option<u64>,
}

impl Watch {
    fn new(service: &str, options: &WaitOptions, expect: Expect) -> Self {
        let filters = filters_json(&[("service".to_owned(), service.to_owned())]);
        Self {
            service: service.to_owned(),
            filters: filters.unwrap_or_default(),
            convergence: Convergence::new(options.monitor),
            expect,
            progress: Progress::new(options.quiet),
            last: "nothing is known of its tasks yet".to_owned(),
            is_job: false,
            run: None,
        }
    }

    /// Looks until the service has converged, or waits for somebody; says which.
    async fn run(&mut self, client: &Client) -> Result<String, Failure> {
        let mut pause = LOOK_PAUSE;
        let mut silent_since: Option<Instant> = None;
        loop {
            match self.look(client).await {
                Ok(Some(end)) => return Ok(end),
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

    /// The run of a job that this is about; of none if the change began none.
    async fn look_at_run(
        &mut self,
        client: &Client,
        entry: &ServiceEntry,
    ) -> Result<Option<String>, Failure> {
        self.is_job = true;
        let name = &entry.service.spec.name;
        let runs = runs(client, &self.service).await?;
        // A scheduled job is not waited for: its runs are nobody's in particular.
        let wanted = |run: &&RunEntry| match self.expect.since {
            Some(version) => run.began.0 == version.0,
            None => run.due.is_none(),
        };
        let Some(run) = runs.iter().find(wanted) else {
            if let Some(number) = self.run {
                return Err(Failure::failed(format!(
                    "run {number} of {name} ended, and was forgotten before it was seen how: see \
                     `swarm events`, and keep more with `swarm service update --keep-runs`"
                )));
            }
            return Ok(Some(match entry.next_run_at {
                Some(at) => {
                    let span = duration::in_words(at.since(now())).to_lowercase();
                    format!("the next run of {name} is at {at}, in {span}")
                }
                None => format!("changed: that counts from the next run of {name} on"),
            }));
        };
        let (number, done) = (run.number, progress(run));
        self.run = Some(number);
        match run.state.as_str() {
            "complete" => Ok(Some(format!("run {number} of {name} is complete: {done}"))),
            "active" => {
                let tasks: Vec<TaskEntry> =
                    client.get("/v1/tasks", &[("filters", &self.filters)]).await?;
                let in_run = |entry: &TaskEntry| entry.task.slot.run() == Some(number);
                let tasks: Vec<_> = tasks.into_iter().filter(in_run).collect();
                let reasons = reasons(&tasks, RestartCondition::OnFailure);
                reasons.iter().for_each(|reason| self.progress.say(reason));
                let why = if run.reason.is_empty() { "" } else { ": " };
                self.last = format!("run {number} of {name}: {done}{why}{}", run.reason);
                self.progress.show(&self.last);
                Ok(None)
            }
            "failed" => Err(Failure::failed(format!(
                "run {number} of {name} failed, {done}: {}; mend it, then start another one with \
                 `swarm service run {name}`",
                run.reason
            ))),
            state => Err(Failure::failed(format!(
                "run {number} of {name} was {state}, {done}: see `swarm service runs {name}`"
            ))),
        }
    }

    async fn look(&mut self, client: &Client) -> Result<Option<String>, Failure> {
        let service: ServiceEntry = client.get(&path(&self.service), &[]).await?;
        if service.service.spec.mode.is_job() {
            return self.look_at_run(client, &service).await;
        }
        let tasks: Vec<TaskEntry> = client.get("/v1/tasks", &[("filters", &self.filters)]).await?;
        let name = &service.service.spec.name;
        let verdict = self.convergence.judge(&service, &tasks, Instant::now());
        match self.expect.judge(&service) {
            Course::Free => {}
            Course::Waits(state) => {
                self.progress.say(&state);
                return Ok(Some(format!("the canary of {name} runs")));
            }
            Course::Failed(reason) => return Err(Failure::failed(reason)),
            Course::Rolling(state) => {
                if let Verdict::Waiting { reasons, .. } = &verdict {
                    reasons.iter().for_each(|reason| self.progress.say(reason));
                }
                self.progress.show(&state);
                self.last = state;
                return Ok(None);
            }
        }
        match verdict {
            Verdict::Converged { tasks } => {
                Ok(Some(format!("converged: {tasks} of {tasks} tasks run")))
            }
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

#[cfg(test)]
mod tests {
    use swarm_model::update::Canary;

    use super::*;
    use crate::commands::fake_node;

    fn entry(kind: &str, phase: &str, reason: &str) -> ServiceEntry {
        serde_json::from_value(fake_node::service(kind, phase, reason)).expect("is a service")
    }

    #[test]
    fn only_the_update_that_was_asked_for_decides() {
        let (mine, later) = (Expect::update(Version(7)), Expect::update(Version(8)));
        let rolling = entry("Update", "Rolling", "");
        let course = Course::Rolling("updating web: 1 of 3 tasks".to_owned());
        assert_eq!(mine.judge(&rolling), course);
        assert_eq!(later.judge(&rolling), Course::Free);
        assert_eq!(mine.judge(&entry("Update", "Completed", "")), Course::Free);
    }

    #[test]
    fn a_canary_that_runs_ends_the_wait() {
        let mut waits = entry("Update", "Rolling", "");
        let update = waits.service.update.as_mut().expect("is updated");
        update.canary = Some(Canary::Waiting);
        match Expect::update(Version(7)).judge(&waits) {
            Course::Waits(said) => assert!(said.contains("swarm service promote web"), "{said}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_paused_or_rolled_back_update_failed_and_says_why() {
        let mine = Expect::update(Version(7));
        let why = |course: Course| match course {
            Course::Failed(reason) => reason,
            Course::Free | Course::Rolling(_) | Course::Waits(_) => panic!("{course:?}"),
        };
        let paused = why(mine.judge(&entry("Update", "Paused", "1 of 3 tasks failed")));
        assert!(paused.starts_with("updating web is paused: 1 of 3 tasks failed; "), "{paused}");
        let back = entry("Rollback", "Completed", "1 of 3 tasks failed");
        let said = why(mine.judge(&back));
        assert!(said.starts_with("service web was rolled back: 1 of 3 tasks failed; "), "{said}");
        assert_eq!(Expect::rollback(Version(7)).judge(&back), Course::Free, "as was asked");
        assert_eq!(Expect::resumed(true).judge(&back), Course::Free, "it was on its way back");
        assert_eq!(why(Expect::resumed(false).judge(&back)), said, "it was resumed, and failed");
        let on_its_way = mine.judge(&entry("Rollback", "Rolling", "1 of 3 tasks failed"));
        let said = "rolling back web: 1 of 3 tasks: 1 of 3 tasks failed".to_owned();
        assert_eq!(on_its_way, Course::Rolling(said));
    }
}
