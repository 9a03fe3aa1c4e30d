//! `/v1/plan`: what would become of a change, by the scheduler's own word, on a copy of the state.
//!
//! Changes nothing. Any node answers, from a state as new as any read's.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use tokio::time::Instant;

use swarm_control::forecast::{World, forecast};
use swarm_model::command::{Actor, Command, Op};
use swarm_model::event::Event;
use swarm_model::id::ServiceId;
use swarm_model::meta::{Revision, Term};
use swarm_model::outcome::Outcome;
use swarm_model::units::Timestamp;
use swarm_model::view::View;
use swarm_state::machine::Machine;

use super::consistency::Read;
use super::errors::ApiError;
use super::nodes;
use super::request::{Json, Params};
use super::resolve;
use super::services::validate;
use super::state::Api;
use super::types::{ErrorBody, PlanRequest, Planned};
use crate::clock::RandomIds;

/// The most changes of one plan.
const CHANGES_MAX: usize = 100;
/// How long a plan may take to make; what is known by then is told.
const PATIENCE: Duration = Duration::from_secs(5);
/// A copy of the state to try changes on.
struct Trial {
    machine: Machine,
    until: Instant,
}

impl World for Trial {
    fn view(&self) -> &View {
        self.machine.view()
    }

    fn apply(&mut self, at: Timestamp, op: Op) -> (Outcome, Vec<Event>) {
        let next = Revision(self.view().revision.0 + 1);
        let actor = Actor::default();
        let command = Command { request: None, at, actor, op, if_revision: None };
        self.machine.apply(next, Term::default(), &command)
    }

    fn enough(&self) -> bool {
        Instant::now() >= self.until
    }
}

/// Tells what would start, move, stop and wait if these changes were made now and nothing else
/// happened. The revision in the answer is what `if-revision` takes.
#[utoipa::path(post, path = "/v1/plan", tag = "services", request_body = PlanRequest,
    params(("stale" = Option<bool>, Query)),
    responses((status = 200, body = utoipa::openapi::Object, description =
            "Revision, Finished, LastsMs, Services, Steps (in order), LeftOut"),
        (status = "default", description = "failed", body = ErrorBody)))]
pub(super) async fn plan(
    State(api): State<Api>,
    params: Params,
    read: Read,
    Json(request): Json<PlanRequest>,
) -> Result<Response, ApiError> {
    params.allow(&["stale"])?;
    let count = request.changes.len();
    if count == 0 || count > CHANGES_MAX {
        let message = format!("Changes: {count} are not from 1 to {CHANGES_MAX}");
        return Err(ApiError::invalid(message));
    }
    let ops: Result<Vec<Op>, _> =
        request.changes.into_iter().map(|change| op(&api, &read.view, change)).collect();
    let ops = read.found(ops)?;
    let (machine, now) = (Machine::trial(View::clone(&read.view)), api.backend.now());
    let make = move || {
        let mut trial = Trial { machine, until: Instant::now() + PATIENCE };
        forecast(&mut trial, ops, now, &mut RandomIds)
    };
    let made = api.planning.alone(make).await?;
    let made = read.found(made.map_err(ApiError::from))?;
    Ok(read.answer(&made))
}

/// The command that the change would become.
fn op(api: &Api, view: &View, change: Planned) -> Result<Op, ApiError> {
    let service = |reference: &str| resolve::service(view, reference).map(|service| service.id);
    Ok(match change {
        Planned::CreateService { spec } => {
            validate(&spec)?;
            Op::CreateService { id: ServiceId::from_raw(api.backend.draw_id()), spec }
        }
        Planned::UpdateService { service: reference, version, spec } => {
            validate(&spec)?;
            Op::UpdateService { id: service(&reference)?, version, spec, steered: true }
        }
        Planned::RollbackService { service: reference, to } => {
            Op::RollbackService { id: service(&reference)?, version: None, to }
        }
        Planned::RemoveService { service: reference } => {
            Op::RemoveService { id: service(&reference)? }
        }
        Planned::UpdateNode { node, update } => {
            let node = resolve::node(view, &node, api.backend.facts().node_id)?;
            nodes::op(node, &update, api.backend.now(), None)?.0
        }
    })
}
