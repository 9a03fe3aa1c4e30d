//! `/v1/tokens`: what lets new nodes in.

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;

use swarm_model::command::Op;
use swarm_model::node::{Reachability, Role};
use swarm_model::view::View;

use super::answer;
use super::consistency::Read;
use super::errors::ApiError;
use super::request::{Json, Params, Write};
use super::state::Api;
use super::types::{ErrorBody, TokenAnswer, TokenRequest};

fn role(word: &str) -> Result<Role, ApiError> {
    word.parse().map_err(|error| ApiError::invalid(format!("role: {error}")))
}

fn token_answer(view: &View, role: Role, token: String) -> TokenAnswer {
    let managers = view.nodes.values().filter(|node| {
        node.spec.role == Role::Manager && node.status.reachability != Reachability::Down
    });
    let addresses = managers.map(|node| node.status.addr.clone()).collect();
    TokenAnswer { token, role, addresses }
}

/// Shows the standing token of a role.
#[utoipa::path(get, path = "/v1/tokens/{role}", tag = "tokens",
    params(("role" = Role, Path), ("stale" = Option<bool>, Query)),
    responses((status = 200, description = "the token", body = TokenAnswer),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn standing(
    State(api): State<Api>,
    Path(word): Path<String>,
    params: Params,
    read: Read,
) -> Result<Response, ApiError> {
    params.allow(&["stale"])?;
    let role = role(&word)?;
    let token = api.backend.join_token(role).await.map_err(|error| api.refused(error))?;
    Ok(read.answer(&token_answer(&read.view, role, token)))
}

/// Makes the standing token of a role worthless and shows the new one.
#[utoipa::path(post, path = "/v1/tokens/{role}/rotate", tag = "tokens",
    params(("role" = Role, Path)),
    responses((status = 200, description = "the new token", body = TokenAnswer),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn rotate(
    State(api): State<Api>,
    Path(word): Path<String>,
    params: Params,
    write: Write,
) -> Result<Response, ApiError> {
    params.allow(&[])?;
    let role = role(&word)?;
    // Who may not see the new token must not make the old one worthless.
    api.backend.join_token(role).await.map_err(|error| api.refused(error))?;
    let applied = api.propose(&write, Op::RotateToken { role }).await?;
    let view = api.view_at(applied.revision).await;
    let token = api.backend.join_token(role).await.map_err(|error| api.refused(error))?;
    Ok(answer::json(StatusCode::OK, &token_answer(&view, role, token)))
}

/// Makes a token with limits.
#[utoipa::path(post, path = "/v1/tokens", tag = "tokens", request_body = TokenRequest,
    responses((status = 201, description = "the token", body = TokenAnswer),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn create(
    State(api): State<Api>,
    params: Params,
    write: Write,
    Json(limits): Json<TokenRequest>,
) -> Result<Response, ApiError> {
    params.allow(&[])?;
    if limits.ttl_ms == Some(0) || limits.uses == Some(0) {
        return Err(ApiError::invalid("TtlMs and Uses: a token lives and serves at least once"));
    }
    let role = limits.role;
    let token = api.backend.limited_token(write.caller, write.request, limits).await;
    let token = token.map_err(|error| api.refused(error))?;
    let answer = token_answer(&api.backend.view(), role, token);
    Ok(answer::json(StatusCode::CREATED, &answer))
}
