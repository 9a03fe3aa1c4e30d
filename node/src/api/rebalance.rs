//! `/v1/rebalance`: moves tasks that would be better off elsewhere by now, or tells which those are.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use swarm_control::Move;
use swarm_model::command::{Op, RELOCATIONS_MAX, Relocation};
use swarm_model::outcome::Done;

use super::answer;
use super::backend::Applied;
use super::consistency::Read;
use super::errors::ApiError;
use super::guards::IfRevision;
use super::request::{GUARD, Params, Write};
use super::state::{Api, write_deadline};
use super::types::{ErrorBody, Rebalanced};

/// Moves unless said otherwise.
const MOVES: usize = 10;

/// Has the tasks replaced elsewhere that gain most by it, each new one first. Answers when that is
/// committed; the tasks follow.
#[utoipa::path(post, path = "/v1/rebalance", tag = "services",
    params(("dry-run" = Option<bool>, Query, description = "only tell which"),
        ("max-moves" = Option<u64>, Query, description = "at most so many, 1 to 100; else 10"),
        IfRevision),
    responses((status = 200, body = utoipa::openapi::Object,
            description = "Moves (TaskID, Name, From, To, Gain, Reason), Applied, Refused"),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn rebalance(
    State(api): State<Api>,
    params: Params,
    write: Write,
    read: Read,
) -> Result<Response, ApiError> {
    let params = params.allow(&["dry-run", "max-moves", GUARD])?;
    let dry = params.switch("dry-run")?.unwrap_or(false);
    let most = params.count("max-moves", 1..=RELOCATIONS_MAX)?.unwrap_or(MOVES);
    let (view, now) = (read.view.clone(), api.backend.now());
    let moves = api.planning.alone(move || swarm_control::rebalance(&view, most, now)).await?;
    if dry || moves.is_empty() {
        return Ok(read.answer(&Rebalanced { moves, applied: 0, refused: 0 }));
    }
    let relocation = |it: &Move| Relocation { task: it.task, version: it.version, to: it.to.id };
    let op = Op::Evict { moves: moves.iter().map(relocation).collect() };
    // The wait for a turn is not the change's.
    let write = Write { deadline: write_deadline(), ..write };
    let Applied { done, .. } = api.propose(&write, op).await?;
    let (applied, refused) = match done {
        Done::Plan { applied, refused } => (applied, refused),
        Done::Nothing | Done::Service(..) | Done::Config(..) | Done::Node(..) | Done::Token(_) => {
            (0, 0)
        }
    };
    Ok(answer::json(StatusCode::OK, &Rebalanced { moves, applied, refused }))
}
