//! `/v1/services/{ref}/runs`, `run` and `stop-run`: what jobs did and do.

use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;

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

/// A run as the API shows it.
pub(super) fn entry(view: &View, run: &Run) -> RunEntry {
    let running = view.tasks_of(run.service).filter(|task| {
        task.status.state == ObservedState::Running && run.index_of(task.slot).is_some()
    });
    RunEntry {
        number: run.number,
        began: run.began,
        state: run.phase.word().to_owned(),
        reason: run.phase.reason().to_owned(),
        completions: run.completions,
        succeeded: run.succeeded.count(),
        running: u32::try_from(running.count()).unwrap_or(u32::MAX),
        failures: run.failures,
        template_version: run.template_version,
        started_at: run.started_at,
        ended_at: run.ended_at,
        due: run.due,
    }
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
    responses((status = 200, description = "as many as `Job.KeepRuns` says", body = [RunEntry]),
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
    let runs = read.view.runs_of(service.id).rev();
    Ok(read.answer(&runs.map(|run| entry(&read.view, run)).collect::<Vec<_>>()))
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
