//! How new an answer is: linearizable by default, from the local replica on request or without quorum.
//!
//! Answers tell their revision in `Swarm-Revision`, and `Swarm-Stale: true` when newer changes may be
//! missing, with the leader's silence in `Swarm-Leader-Silent-Ms`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use swarm_model::id::NodeId;
use swarm_model::node::{Node, Reachability};
use swarm_model::view::View;

use super::answer;
use super::backend::Consensus;
use super::errors::ApiError;
use super::request::Params;
use super::state::{Api, ELECTING};

pub(super) const REVISION: HeaderName = HeaderName::from_static("swarm-revision");
pub(super) const STALE: HeaderName = HeaderName::from_static("swarm-stale");
const LEADER_SILENT: HeaderName = HeaderName::from_static("swarm-leader-silent-ms");

/// The state that a read answers from. `?stale=true` takes the local replica at once; without it, that
/// is what is left when quorum is lost; `?stale=false` rather fails then.
#[derive(Debug, Clone)]
pub(super) struct Read {
    /// The state.
    pub(super) view: Arc<View>,
    /// Whether newer changes may be missing.
    pub(super) stale: bool,
    /// Whether nobody has a majority behind it, as far as this node can tell.
    lost: bool,
    /// For how long nothing was heard from the leader.
    silent: Option<Duration>,
}

impl FromRequestParts<Api> for Read {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let wanted = Params::from_request_parts(parts, api).await?.switch("stale")?;
        let asked = wanted == Some(true);
        let stale = asked || api.barrier().await.is_err();
        if stale && wanted == Some(false) {
            return Err(ApiError::no_quorum(format!(
                "no quorum: {}; ask with stale=true for what this node knows",
                api.standing()
            )));
        }
        let silent = if stale { api.backend.consensus().leader_silent } else { None };
        // Who asks for a stale answer did not try for a majority: then the silence decides.
        let lost = stale && (!asked || silent.is_some_and(|silent| silent > ELECTING));
        let mut view = api.backend.view();
        if lost {
            view = Arc::new(as_heard(&view, &api.backend.heard()));
        }
        Ok(Self { view, stale, lost, silent })
    }
}

impl Read {
    /// What was looked for in this view. That it is not there tells the revision, too, and is marked
    /// when newer changes may be missing.
    pub(super) fn found<T>(&self, found: Result<T, ApiError>) -> Result<T, ApiError> {
        found.map_err(|error| ApiError {
            stale: self.stale,
            revision: Some(self.view.revision),
            ..error
        })
    }

    /// The leader by `consensus`; none when nobody has a majority behind it.
    pub(super) fn leader(&self, consensus: &Consensus) -> Option<NodeId> {
        consensus.leader.filter(|_| !self.lost)
    }

    /// One document, with the headers.
    pub(super) fn answer<T: Serialize>(&self, value: &T) -> Response {
        self.mark(answer::json(StatusCode::OK, value))
    }

    /// Adds the headers.
    pub(super) fn mark(&self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        headers.insert(REVISION, HeaderValue::from(self.view.revision.0));
        if self.stale {
            headers.insert(STALE, HeaderValue::from_static("true"));
            if let Some(silent) = self.silent {
                let millis = u64::try_from(silent.as_millis()).unwrap_or(u64::MAX);
                headers.insert(LEADER_SILENT, HeaderValue::from(millis));
            }
        }
        response
    }
}

/// The view with what gossip hears in the place of what a majority noted last: without one, nobody
/// notes who falls silent or comes back.
fn as_heard(view: &View, heard: &BTreeSet<NodeId>) -> View {
    let mut seen = view.clone();
    for (id, node) in &view.nodes {
        let reachability = match (node.status.reachability, heard.contains(id)) {
            (Reachability::Ready, false) => Reachability::Unknown,
            (Reachability::Down, true) => Reachability::Ready,
            (Reachability::Ready, true)
            | (Reachability::Down, false)
            | (Reachability::Unknown, _) => continue,
        };
        let mut node = Node::clone(node);
        node.status.reachability = reachability;
        "as the answering node hears it: there is no quorum to note it"
            .clone_into(&mut node.status.message);
        seen.nodes.insert(*id, Arc::new(node));
    }
    seen
}
