//! How new an answer is: linearizable by default, from the local replica on request or without quorum.
//!
//! Answers tell their revision in `Swarm-Revision`, and `Swarm-Stale: true` when newer changes may be
//! missing, with the leader's silence in `Swarm-Leader-Silent-Ms`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use swarm_model::view::View;

use super::answer;
use super::errors::ApiError;
use super::request::Params;
use super::state::Api;

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
    /// For how long nothing was heard from the leader.
    silent: Option<Duration>,
}

impl FromRequestParts<Api> for Read {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let wanted = Params::from_request_parts(parts, api).await?.switch("stale")?;
        let stale = wanted == Some(true) || api.barrier().await.is_err();
        if stale && wanted == Some(false) {
            return Err(ApiError::no_quorum(format!(
                "no quorum: {}; ask with stale=true for what this node knows",
                api.standing()
            )));
        }
        let silent = if stale { api.backend.consensus().leader_silent } else { None };
        Ok(Self { view: api.backend.view(), stale, silent })
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
