//! `/v1/configs`: named bytes that services mount as files.

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;

use swarm_model::command::Op;
use swarm_model::config::{Config, ConfigSpec};
use swarm_model::id::ConfigId;
use swarm_model::outcome::{Kind, Rejection};

use super::answer;
use super::change::Change;
use super::consistency::Read;
use super::errors::ApiError;
use super::filters::Filters;
use super::guards::{IfRevision, IfVersion};
use super::request::{GUARD, Json, Params, Write};
use super::resolve;
use super::state::Api;
use super::types::{ErrorBody, Written};
use super::written;

/// Filters of the list; `name` and `id` match prefixes, `names` whole names.
const FILTERS: &[&str] = &["id", "label", "name", "names"];

/// Lists configs.
#[utoipa::path(get, path = "/v1/configs", tag = "configs",
    params(("filters" = Option<String>, Query, description = "keys: id, label, name, names"),
        ("stale" = Option<bool>, Query)),
    responses((status = 200, description = "by name", body = [Config]),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn list(read: Read, params: Params) -> Result<Response, ApiError> {
    let filters = params.allow(&["filters", "stale"])?.text("filters");
    let filters = Filters::parse(filters, FILTERS)?;
    let by_name = read.view.config_names.values().filter_map(|id| read.view.configs.get(id));
    let found: Vec<&Config> = by_name
        .map(AsRef::as_ref)
        .filter(|config| {
            let name = config.spec.name.as_str();
            filters.prefix("id", &config.id.to_string())
                && filters.prefix("name", name)
                && filters.any("names", |value| value == name)
                && filters.labels("label", &[&config.spec.labels])
        })
        .collect();
    Ok(read.answer(&found))
}

/// Shows one config.
#[utoipa::path(get, path = "/v1/configs/{ref}", tag = "configs",
    params(("ref" = String, Path, description = "id, name, or unique prefix of the id"),
        ("stale" = Option<bool>, Query)),
    responses((status = 200, description = "the config", body = Config),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn inspect(
    read: Read,
    params: Params,
    Path(reference): Path<String>,
) -> Result<Response, ApiError> {
    params.allow(&["stale"])?;
    Ok(read.answer(read.found(resolve::config(&read.view, &reference))?.as_ref()))
}

fn validate(spec: &ConfigSpec) -> Result<(), ApiError> {
    let invalid = |error| ApiError::from(Rejection::Invalid { kind: Kind::Config, error });
    spec.validate().map_err(invalid)
}

/// Stores a config.
#[utoipa::path(post, path = "/v1/configs/create", tag = "configs", request_body = ConfigSpec,
    params(IfRevision),
    responses((status = 201, description = "stored", body = Written),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn create(
    State(api): State<Api>,
    params: Params,
    write: Write,
    Json(spec): Json<ConfigSpec>,
) -> Result<Response, ApiError> {
    params.allow(&[GUARD])?;
    validate(&spec)?;
    let id = ConfigId::from_raw(api.backend.draw_id());
    let applied = api.propose(&write, Op::CreateConfig { id, spec }).await?;
    Ok(answer::json(StatusCode::CREATED, &written::of(&applied, id)))
}

/// Stores a new version of a config.
#[utoipa::path(post, path = "/v1/configs/{ref}/update", tag = "configs", request_body = ConfigSpec,
    params(("ref" = String, Path, description = "id, name, or unique prefix of the id"),
        IfVersion, IfRevision),
    responses((status = 200, description = "stored", body = Written),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn update(
    change: Change,
    params: Params,
    Json(spec): Json<ConfigSpec>,
) -> Result<Response, ApiError> {
    let version = params.allow(&["version", GUARD])?.version()?;
    validate(&spec)?;
    let done = change.config(|id| Op::UpdateConfig { id, version, spec }).await?;
    Ok(answer::json(StatusCode::OK, &done))
}

/// Deletes a config that no service uses.
#[utoipa::path(delete, path = "/v1/configs/{ref}", tag = "configs",
    params(("ref" = String, Path, description = "id, name, or unique prefix of the id"),
        IfRevision),
    responses((status = 200, description = "deleted", body = Written),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn remove(change: Change, params: Params) -> Result<Response, ApiError> {
    params.allow(&[GUARD])?;
    let done = change.config(|id| Op::RemoveConfig { id }).await?;
    Ok(answer::json(StatusCode::OK, &done))
}
