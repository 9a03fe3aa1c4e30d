//! `/v1/services/{ref}/rollback`, `pause`, `history` and `diff`: what services were, and the way back.

use std::collections::BTreeMap;

use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;
use serde_json::Value;

use swarm_model::command::{Actor, Op};
use swarm_model::meta::Version;
use swarm_model::outcome::Rejection;
use swarm_model::service::{Service, ServiceSpec};
use swarm_model::update::{Cause, SpecRecord, UpdateState};
use swarm_model::view::View;

use super::answer;
use super::change::Change;
use super::consistency::Read;
use super::errors::ApiError;
use super::guards::{IfRevision, IfVersion};
use super::request::{GUARD, Params};
use super::resolve;
use super::types::{Difference, ErrorBody, HistoryEntry, SpecDiff, UpdateStatus, Written};

/// How far an update is, as Docker tells it.
pub(super) fn status(update: &UpdateState) -> UpdateStatus {
    UpdateStatus {
        state: update.word().to_owned(),
        started_at: update.started_at,
        completed_at: update.ended_at,
        message: update.reason.clone(),
    }
}

/// Takes a service back to a spec that it had. Answers when that is committed; its tasks follow by the
/// rules of `RollbackConfig`.
#[utoipa::path(post, path = "/v1/services/{ref}/rollback", tag = "services",
    params(("ref" = String, Path, description = "id, name, or unique prefix of the id"),
        ("to" = Option<u64>, Query, description = "a version of its history; else the last one that ran"),
        IfVersion, IfRevision),
    responses((status = 200, description = "on its way back", body = Written),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn rollback(change: Change, params: Params) -> Result<Response, ApiError> {
    let version = params.allow(&["to", "version", GUARD])?.version()?;
    let to = params.version_of("to")?;
    let done = change.service(|id| Op::RollbackService { id, version, to }).await?;
    Ok(answer::json(StatusCode::OK, &done))
}

/// Stops a service's update where it is, or lets it go on.
#[utoipa::path(post, path = "/v1/services/{ref}/pause", tag = "services",
    params(("ref" = String, Path, description = "id, name, or unique prefix of the id"),
        ("paused" = Option<bool>, Query, description = "false lets it go on"),
        IfRevision),
    responses((status = 200, description = "stopped, or going on", body = Written),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn pause(change: Change, params: Params) -> Result<Response, ApiError> {
    let paused = params.allow(&["paused", GUARD])?.switch("paused")?.unwrap_or(true);
    let done = change.service(|id| Op::PauseUpdate { id, paused }).await?;
    Ok(answer::json(StatusCode::OK, &done))
}

/// Lets the other tasks follow a canary that has proven itself.
#[utoipa::path(post, path = "/v1/services/{ref}/promote", tag = "services",
    params(("ref" = String, Path, description = "id, name, or unique prefix of the id"),
        IfRevision),
    responses((status = 200, description = "going on", body = Written),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn promote(change: Change, params: Params) -> Result<Response, ApiError> {
    params.allow(&[GUARD])?;
    let done = change.service(|id| Op::PromoteUpdate { id }).await?;
    Ok(answer::json(StatusCode::OK, &done))
}

/// Lists the specs that a service has and had, the newest first.
#[utoipa::path(get, path = "/v1/services/{ref}/history", tag = "services",
    params(("ref" = String, Path, description = "id, name, or unique prefix of the id"),
        ("stale" = Option<bool>, Query)),
    responses((status = 200, description = "at most ten", body = [HistoryEntry]),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn history(
    Path(reference): Path<String>,
    params: Params,
    read: Read,
) -> Result<Response, ApiError> {
    params.allow(&["stale"])?;
    let service = read.found(resolve::service(&read.view, &reference))?;
    let records = records(&read.view, service);
    let mut entries: Vec<_> = records.iter().rev().map(entry).collect();
    entries.iter_mut().take(1).for_each(|newest| newest.current = true);
    Ok(read.answer(&entries))
}

/// Tells how two specs of a service differ, field by field.
#[utoipa::path(get, path = "/v1/services/{ref}/diff", tag = "services",
    params(("ref" = String, Path, description = "id, name, or unique prefix of the id"),
        ("from" = Option<u64>, Query, description = "a version of its history; else the one before `to`"),
        ("to" = Option<u64>, Query, description = "another one; else the current one"),
        ("stale" = Option<bool>, Query)),
    responses((status = 200, description = "what differs", body = SpecDiff),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn diff(
    Path(reference): Path<String>,
    params: Params,
    read: Read,
) -> Result<Response, ApiError> {
    params.allow(&["from", "to", "stale"])?;
    let (from, to) = (params.version_of("from")?, params.version_of("to")?);
    let service = read.found(resolve::service(&read.view, &reference))?;
    let records = records(&read.view, service);
    let missing = |given: Option<Version>| {
        ApiError::from(Rejection::NoSuchVersion {
            service: service.spec.name.to_string(),
            given,
            kept: records.iter().map(|record| record.version).collect(),
        })
    };
    let find = |version: Version| {
        let at = records.iter().position(|record| record.version == version);
        at.ok_or_else(|| missing(Some(version)))
    };
    let to = to.map_or(Ok(records.len() - 1), find)?;
    let before = || to.checked_sub(1).ok_or_else(|| missing(None));
    let from = from.map_or_else(before, find)?;
    let (from, to) = (&records[from], &records[to]);
    let differences = differences(&from.spec, &to.spec)?;
    Ok(read.answer(&SpecDiff { from: from.version, to: to.version, differences }))
}

/// The specs of a service, the newest last; at least the one that it has.
fn records(view: &View, service: &Service) -> Vec<SpecRecord> {
    let history = view.histories.get(&service.id);
    let mut records = history.map(|kept| kept.records().to_vec()).unwrap_or_default();
    if records.last().is_none_or(|newest| newest.spec != service.spec) {
        // It was never updated.
        records.push(SpecRecord {
            version: service.meta.version,
            template_version: service.template_version,
            spec: service.spec.clone(),
            at: service.meta.updated_at,
            by: None,
            cause: Cause::Created,
            stood: false,
        });
    }
    records
}

fn entry(record: &SpecRecord) -> HistoryEntry {
    HistoryEntry {
        version: record.version,
        template_version: record.template_version,
        at: record.at,
        by: record.by.as_ref().map(who).unwrap_or_default(),
        cause: match record.cause {
            Cause::Created => "created".to_owned(),
            Cause::Updated => "updated".to_owned(),
            Cause::RolledBack { to } => format!("rolled back to {to}"),
        },
        ran: record.stood,
        current: false,
        spec: ServiceSpec::clone(&record.spec),
    }
}

fn who(actor: &Actor) -> String {
    match actor.uid {
        Some(uid) => format!("uid {uid} on {}", actor.node.short()),
        None => "the cluster".to_owned(),
    }
}

/// The fields that differ, by their paths in JSON; lists count as one value.
fn differences(from: &ServiceSpec, to: &ServiceSpec) -> Result<Vec<Difference>, ApiError> {
    let fields = |spec: &ServiceSpec| {
        let value = serde_json::to_value(spec);
        let value = value.map_err(|error| ApiError::internal(error.to_string()))?;
        let mut fields = BTreeMap::new();
        flatten(String::new(), value, &mut fields);
        Ok::<_, ApiError>(fields)
    };
    let (mut before, after) = (fields(from)?, fields(to)?);
    let mut found = Vec::new();
    for (field, value) in after {
        let old = before.remove(&field);
        if old.as_ref() != Some(&value) {
            found.push(Difference { field, from: old, to: Some(value) });
        }
    }
    found.extend(before.into_iter().map(|(field, old)| Difference {
        field,
        from: Some(old),
        to: None,
    }));
    found.sort_by(|left, right| left.field.cmp(&right.field));
    Ok(found)
}

fn flatten(path: String, value: Value, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                flatten(path, value, into);
            }
        }
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            into.insert(path, value);
        }
    }
}
