//! `/v1/services/{ref}/runs`, `run` and `stop-run`: what jobs did and do.

use std::collections::BTreeMap;

use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;

use swarm_control::held_up_by;
use swarm_control::schedule::Schedule;
use swarm_model::command::Op;
use swarm_model::job::Run;
use swarm_model::outcome::Rejection;
use swarm_model::service::{Service, ServiceSpec, SpecError};
use swarm_model::task_state::ObservedState;
use swarm_model::units::Timestamp;
use swarm_model::view::View;

use super::answer;
use super::change::Change;
use super::consistency::Read;
use super::errors::ApiError;
use super::guards::IfRevision;
use super::request::{GUARD, Params};
use super::resolve;
use super::types::{ErrorBody, RunEntry, Written};

/// What the tasks of a job say of its runs: looked at once for all of them.
pub(super) struct Tally {
    /// How many tasks of each run are running.
    running: BTreeMap<u64, u32>,
    /// What runs that go on wait for; empty when that is nothing.
    waits: String,
}

impl Tally {
    pub(super) fn of(view: &View, service: &Service) -> Self {
        let mut running = BTreeMap::new();
        let tasks = view.tasks_of(service.id);
        for task in tasks.filter(|task| task.status.state == ObservedState::Running) {
            task.slot.run().into_iter().for_each(|run| *running.entry(run).or_default() += 1);
        }
        Self { running, waits: waits(view, service) }
    }

    /// A run as the API shows it.
    pub(super) fn entry(&self, run: &Run) -> RunEntry {
        let reason = if run.is_active() { &self.waits } else { run.phase.reason() };
        RunEntry {
            number: run.number,
            began: run.began,
            state: run.phase.word().to_owned(),
            reason: reason.to_owned(),
            completions: run.completions,
            succeeded: run.succeeded.count(),
            running: self.running.get(&run.number).copied().unwrap_or_default(),
            failures: run.failures,
            template_version: run.template_version,
            started_at: run.started_at,
            ended_at: run.ended_at,
            due: run.due,
        }
    }
}

/// For the end of which tasks the runs of `service` wait, in words.
fn waits(view: &View, service: &Service) -> String {
    let held_up_by = held_up_by(view, service);
    let Some(first) = held_up_by.first() else { return String::new() };
    let node = first.node.and_then(|node| view.nodes.get(&node));
    let host = node.map(|node| format!(" on {}", node.description.hostname)).unwrap_or_default();
    let name = super::tasks::name(view, first);
    let more = match held_up_by.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("waits for the end of {name}{host}{more}, left of runs that are over")
}

/// When a scheduled job runs next.
pub(super) fn next(service: &Service, now: Timestamp) -> Option<Timestamp> {
    let (spec, state) = (service.spec.schedule.as_ref()?, service.schedule?);
    Schedule::new(spec).ok()?.next(state.cursor.max(now))
}

/// Refuses a time zone that there is not.
///
/// # Errors
/// With the names that are most like it.
pub(super) fn check_zone(spec: &ServiceSpec) -> Result<(), SpecError> {
    let Some(schedule) = &spec.schedule else { return Ok(()) };
    Schedule::new(schedule).map(drop).map_err(|unknown| {
        let (given, near) = (&schedule.time_zone, unknown.nearest.join(", "));
        let reason = format!("there is no time zone \"{given}\": near it are {near}");
        SpecError::new("Schedule.TimeZone", reason)
    })
}

/// Lists the runs of a job, the newest first.
#[utoipa::path(get, path = "/v1/services/{ref}/runs", tag = "services",
    params(("ref" = String, Path, description = "id, name, or unique prefix of the id"),
        ("stale" = Option<bool>, Query)),
    responses((status = 200, description =
            "those that go on, and of those that ended as many as `Job.KeepRuns` says", body = [RunEntry]),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn list(
    Path(reference): Path<String>,
    params: Params,
    read: Read,
) -> Result<Response, ApiError> {
    params.allow(&["stale"])?;
    let service = read.found(resolve::service(&read.view, &reference))?;
    if !service.spec.mode.is_job() {
        return Err(Rejection::NotAJob { service: service.spec.name.to_string() }.into());
    }
    let tally = Tally::of(&read.view, service);
    let runs = read.view.runs_of(service.id).rev();
    Ok(read.answer(&runs.map(|run| tally.entry(run)).collect::<Vec<_>>()))
}

/// Starts a run of a job. Answers when that is committed; its tasks follow. The run is the one whose
/// `Began` is the answer's `Revision`.
#[utoipa::path(post, path = "/v1/services/{ref}/run", tag = "services",
    params(("ref" = String, Path, description = "id, name, or unique prefix of the id"),
        IfRevision),
    responses((status = 200, description = "begun", body = Written),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn start(change: Change, params: Params) -> Result<Response, ApiError> {
    params.allow(&[GUARD])?;
    let done = change.service(|id| Op::StartRun { id }).await?;
    Ok(answer::json(StatusCode::OK, &done))
}

/// Stops a run of a job, or all that go on: their tasks are asked to end.
#[utoipa::path(post, path = "/v1/services/{ref}/stop-run", tag = "services",
    params(("ref" = String, Path, description = "id, name, or unique prefix of the id"),
        ("run" = Option<u64>, Query, description = "its number; else all that go on"),
        IfRevision),
    responses((status = 200, description = "stopped", body = Written),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn stop(change: Change, params: Params) -> Result<Response, ApiError> {
    let run = params.allow(&["run", GUARD])?.version_of("run")?.map(|number| number.0);
    let done = change.service(|id| Op::StopRun { id, run }).await?;
    Ok(answer::json(StatusCode::OK, &done))
}
