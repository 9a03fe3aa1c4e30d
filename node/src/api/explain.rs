//! `/v1/services/{ref}/explain`: what the scheduler would say to one more task, node by node.

use axum::extract::{Path, State};
use axum::response::Response;

use swarm_model::outcome::Kind;

use super::consistency::Read;
use super::errors::ApiError;
use super::request::Params;
use super::resolve;
use super::state::Api;
use super::types::ErrorBody;
use crate::work::Work;

/// Explains where tasks of a service can go: which filter refuses each node, or how the node ranks.
#[utoipa::path(get, path = "/v1/services/{ref}/explain", tag = "services",
    params(("ref" = String, Path, description = "id, name, or unique prefix of the id"),
        ("stale" = Option<bool>, Query)),
    responses((status = 200, body = utoipa::openapi::Object,
            description = "ServiceID, ServiceName, Refusal, Waiting and Nodes, best node first"),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn explain(
    State(api): State<Api>,
    Path(reference): Path<String>,
    params: Params,
    read: Read,
) -> Result<Response, ApiError> {
    params.allow(&["stale"])?;
    let service = read.found(resolve::service(&read.view, &reference))?.id;
    // All nodes are looked at: not on a thread that others' requests wait for.
    let (view, now) = (read.view.clone(), api.backend.now());
    let explanation = Work::Threads.run(move || swarm_control::explain(&view, service, now)).await;
    let missing = || ApiError::not_found(Kind::Service, &reference);
    Ok(read.answer(&explanation.ok_or_else(missing)?))
}
