//! `/v1/tasks/{ref}/files`: files out of and into the working directory of a running task.

use axum::extract::{Path, Request, State};
use axum::response::Response;

use super::backend::Reach;
use super::consistency::Read;
use super::errors::ApiError;
use super::request::Params;
use super::session::Client;
use super::state::Api;
use super::types::ErrorBody;
use crate::archive::Transfer;
use crate::reach::files::FilesAsk;

/// Copies files out of or into a task, as a tar stream.
///
/// Needs `Connection: Upgrade` and `Upgrade: swarm-chunks`; see docs/api.md for what follows the answer.
#[utoipa::path(post, path = "/v1/tasks/{ref}/files", tag = "tasks", request_body = Transfer,
    params(("ref" = String, Path,
            description = "id, unique prefix of the id, or name like web.1"),
        ("stale" = Option<bool>, Query)),
    responses((status = 101, description = "the connection carries chunks from now on"),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn copy(
    State(api): State<Api>,
    Path(reference): Path<String>,
    params: Params,
    read: Read,
    request: Request,
) -> Result<Response, ApiError> {
    params.allow(&["stale"])?;
    let (client, transfer) = Client::asking(request, &api).await?;
    let ask = |task| Reach::Files(FilesAsk { task, transfer });
    client.talk(&api, &read, &reference, ask).await
}
