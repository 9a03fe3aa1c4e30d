//! `/v1/recovery` and `/v1/backup`: going on without a majority, and what a cluster is restored from.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use swarm_model::command::Actor;

use super::answer;
use super::errors::ApiError;
use super::request::{Json, Params, Write};
use super::state::Api;
use super::types::{BackupAnswer, ErrorBody, RecoverRequest, RecoveryReport};

/// Shows what this node holds and what a recovery would leave behind.
#[utoipa::path(get, path = "/v1/recovery", tag = "cluster",
    responses((status = 200, description = "the survivor", body = RecoveryReport),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn report(State(api): State<Api>, params: Params) -> Result<Response, ApiError> {
    params.allow(&[])?;
    no_quorum(&api).await?;
    let report = api.backend.recovery().await.map_err(|error| api.refused(error))?;
    Ok(answer::json(StatusCode::OK, &report))
}

/// This node goes on as the only voter, without the lost members. Answers when it is decided; the node
/// then begins a new life, and is the leader of the next epoch when `/v1/info` says so.
#[utoipa::path(post, path = "/v1/recovery", tag = "cluster", request_body = RecoverRequest,
    responses((status = 202, description = "decided"),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn recover(
    State(api): State<Api>,
    params: Params,
    write: Write,
    Json(request): Json<RecoverRequest>,
) -> Result<Response, ApiError> {
    params.allow(&[])?;
    privileged(&write.caller, "recover the cluster")?;
    no_quorum(&api).await?;
    let lost: BTreeSet<_> = request.lost.into_iter().collect();
    api.backend.recover(lost).await.map_err(|error| api.refused(error))?;
    Ok(answer::json(StatusCode::ACCEPTED, &serde_json::json!({})))
}

/// Everything that a cluster can be founded from anew, with its secret keys. With `?stale=true` from the
/// local replica alone.
#[utoipa::path(post, path = "/v1/backup", tag = "cluster",
    params(("stale" = Option<bool>, Query)),
    responses((status = 200, description = "the archive", body = BackupAnswer),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn backup(
    State(api): State<Api>,
    params: Params,
    write: Write,
) -> Result<Response, ApiError> {
    let stale = params.allow(&["stale"])?.switch("stale")? == Some(true);
    privileged(&write.caller, "take a backup: it holds the cluster's keys")?;
    let behind = api.barrier().await.is_err();
    if behind && !stale {
        return Err(ApiError::no_quorum(format!(
            "no quorum: {}; with --stale the backup is made of what this node knows",
            api.standing()
        )));
    }
    let archive = api.backend.backup(behind).await.map_err(|error| api.refused(error))?;
    Ok(answer::json(StatusCode::OK, &BackupAnswer { archive: archive.into() }))
}

/// A recovery throws away what the others have: not while they answer.
async fn no_quorum(api: &Api) -> Result<(), ApiError> {
    if api.barrier().await.is_err() {
        return Ok(());
    }
    let message = "the cluster has quorum, so nothing is lost and there is nothing to recover: to \
                   remove a node that is gone use `swarm node rm`";
    Err(ApiError::conflict(message))
}

/// Only who runs the node, and the superuser, get at its keys and its membership.
fn privileged(caller: &Actor, what: &str) -> Result<(), ApiError> {
    let owner = rustix::process::geteuid().as_raw();
    if caller.uid.is_some_and(|uid| uid == 0 || uid == owner) {
        return Ok(());
    }
    Err(ApiError::forbidden(format!("only root and the node's own user may {what}")))
}
