//! The options of jobs, as `service create` and `service update` take them.

use std::time::Duration;

use clap::Args;
use swarm_model::restart::RestartCondition;
use swarm_model::schedule::{CatchUp, Cron, Overlap, ScheduleSpec};
use swarm_model::service::{ServiceMode, ServiceSpec};
use swarm_model::update::UpdatePolicy;

use crate::exit::Failure;
use crate::parse::duration;

/// Options that set one rule each; what is absent stays.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Job")]
pub(super) struct JobOptions {
    /// Tasks of a replicated-job that run at a time; 0 is all of them [default: 0]
    #[arg(long, value_name = "N")]
    max_concurrent: Option<u32>,
    /// A run of a job that takes longer has failed; 0 is no bound [default: 0]
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    job_deadline: Option<Duration>,
    /// Runs of a job that ended last and are remembered [default: 10]
    #[arg(long, value_name = "N")]
    keep_runs: Option<u32>,
    /// Run the job at these times, like '0 3 * * *' or @daily; '' takes that away
    #[arg(
        long,
        value_name = "CRON",
        value_parser = schedule,
        long_help = "Run the job at these times instead of at once: minute, hour, day of the month, \
            month, day of the week, like '30 2 * * mon-fri'; with six fields the second comes first. \
            Lists, ranges, steps, names; @yearly, @monthly, @weekly, @daily, @hourly. '' takes the \
            schedule away"
    )]
    schedule: Option<Times>,
    /// The time zone of the schedule, like Europe/Berlin [default: UTC]
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    /// When a run is due while one goes on: skip, allow, replace [default: skip]
    #[arg(long, value_name = "WORD")]
    overlap: Option<Overlap>,
    /// Which missed runs take place after all: last, none, all [default: last]
    #[arg(long, value_name = "WORD")]
    catch_up: Option<CatchUp>,
}

/// When a job runs; `None` is never by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Times(Option<Cron>);

fn schedule(text: &str) -> Result<Times, String> {
    if text.trim().is_empty() {
        return Ok(Times(None));
    }
    let cron = text.parse::<Cron>().map_err(|error| error.to_string())?;
    if !cron.is_ever_due() {
        return Err(format!("\"{cron}\" is never due: no month of it has such a day"));
    }
    Ok(Times(Some(cron)))
}

impl JobOptions {
    /// Puts what was given into `spec`.
    ///
    /// # Errors
    /// For what does not go with the spec's mode.
    pub(super) fn apply(self, spec: &mut ServiceSpec) -> Result<(), Failure> {
        if let Some(most) = self.max_concurrent {
            let ServiceMode::ReplicatedJob { max_concurrent, .. } = &mut spec.mode else {
                let mode = spec.mode.word();
                return Err(Failure::usage(format!(
                    "--max-concurrent goes with --mode replicated-job, not with {mode}"
                )));
            };
            *max_concurrent = most;
        }
        let given = [
            (self.job_deadline.is_some(), "--job-deadline"),
            (self.keep_runs.is_some(), "--keep-runs"),
            (self.schedule.is_some(), "--schedule"),
        ];
        if let Some((_, option)) = given.iter().find(|(is, _)| *is && !spec.mode.is_job()) {
            return Err(Failure::usage(format!(
                "{option} goes with jobs: use --mode replicated-job or global-job"
            )));
        }
        if let Some(deadline) = self.job_deadline.map(duration::millis) {
            spec.job.deadline_ms = (deadline > 0).then_some(deadline);
        }
        spec.job.keep_runs = self.keep_runs.unwrap_or(spec.job.keep_runs);
        self.apply_schedule(spec)
    }

    /// The part about times.
    fn apply_schedule(self, spec: &mut ServiceSpec) -> Result<(), Failure> {
        match self.schedule {
            Some(Times(None)) => spec.schedule = None,
            Some(Times(Some(cron))) => {
                let given = spec.schedule.take();
                let time_zone = given.as_ref().map_or("UTC", |old| &old.time_zone).to_owned();
                let overlap = given.as_ref().map(|old| old.overlap).unwrap_or_default();
                let catch_up = given.map(|old| old.catch_up).unwrap_or_default();
                spec.schedule = Some(ScheduleSpec { cron, time_zone, overlap, catch_up });
            }
            None => {}
        }
        let more = [
            (self.timezone.is_some(), "--timezone"),
            (self.overlap.is_some(), "--overlap"),
            (self.catch_up.is_some(), "--catch-up"),
        ];
        let given = more.iter().find(|(is, _)| *is);
        match (&mut spec.schedule, given) {
            (Some(schedule), _) => {
                schedule.time_zone = self.timezone.unwrap_or(schedule.time_zone.clone());
                schedule.overlap = self.overlap.unwrap_or(schedule.overlap);
                schedule.catch_up = self.catch_up.unwrap_or(schedule.catch_up);
                Ok(())
            }
            (None, Some((_, option))) => {
                Err(Failure::usage(format!("{option} goes with --schedule: say when the job runs")))
            }
            (None, None) => Ok(()),
        }
    }
}

/// Refuses what makes no sense for a job, by the names of the options. `restart` is what was asked for.
///
/// # Errors
/// The contradiction.
pub(super) fn check(spec: &ServiceSpec, restart: Option<RestartCondition>) -> Result<(), Failure> {
    if !spec.mode.is_job() {
        return Ok(());
    }
    if restart == Some(RestartCondition::Any) {
        return Err(Failure::usage(
            "--restart-condition any does not go with a job: a task that ended well is never \
             started again; use on-failure or none",
        ));
    }
    if [spec.update, spec.rollback] != [UpdatePolicy::default(); 2] {
        return Err(Failure::usage(
            "--update-... and --rollback-... do not go with a job: its tasks are not replaced, a \
             new version is a new run",
        ));
    }
    Ok(())
}
