//! `/v1/cluster` and `/v1/leave`: the settings of the whole, and this node's part in it.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use swarm_model::cluster::{Cluster, ClusterSpec};
use swarm_model::command::Op;
use swarm_model::outcome::{Kind, Rejection};
use swarm_model::view::View;

use super::answer;
use super::consistency::Read;
use super::errors::ApiError;
use super::guards::{IfRevision, IfVersion};
use super::request::{GUARD, Json, Params, Write};
use super::state::Api;
use super::types::{ErrorBody, LeaveRequest, Written};
use super::written;

fn cluster(view: &View) -> Result<&Cluster, ApiError> {
    view.cluster.as_deref().ok_or_else(|| {
        ApiError::unavailable("this node has not caught up with its cluster yet: ask again soon")
    })
}

/// Shows the cluster.
#[utoipa::path(get, path = "/v1/cluster", tag = "cluster",
    params(("stale" = Option<bool>, Query)),
    responses((status = 200, description = "the cluster", body = Cluster),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn inspect(read: Read, params: Params) -> Result<Response, ApiError> {
    params.allow(&["stale"])?;
    Ok(read.answer(cluster(&read.view)?))
}

/// Changes the cluster's settings.
#[utoipa::path(post, path = "/v1/cluster/update", tag = "cluster", request_body = ClusterSpec,
    params(IfVersion, IfRevision),
    responses((status = 200, description = "changed", body = Written),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn update(
    State(api): State<Api>,
    params: Params,
    write: Write,
    Json(spec): Json<ClusterSpec>,
) -> Result<Response, ApiError> {
    let version = params.allow(&["version", GUARD])?.version()?;
    let invalid = |error| ApiError::from(Rejection::Invalid { kind: Kind::Cluster, error });
    spec.validate().map_err(invalid)?;
    let applied = api.propose(&write, Op::UpdateCluster { version, spec }).await?;
    let id = api.backend.facts().cluster_id;
    Ok(answer::json(StatusCode::OK, &written::of(&applied, id)))
}

/// This node leaves. Answers when it has; the daemon then ends and empties its data directory.
#[utoipa::path(post, path = "/v1/leave", tag = "cluster", request_body = LeaveRequest,
    responses((status = 200, description = "left"),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn leave(
    State(api): State<Api>,
    params: Params,
    write: Write,
    Json(request): Json<LeaveRequest>,
) -> Result<Response, ApiError> {
    params.allow(&[])?;
    let left = api.backend.leave(write.caller, request.force).await;
    left.map_err(|error| api.refused(error))?;
    Ok(answer::json(StatusCode::OK, &serde_json::json!({})))
}
