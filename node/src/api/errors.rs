//! What a request that failed answers: a status, a stable code, and a message for people.
//!
//! The one place where rejections and failures become HTTP.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use swarm_model::meta::Revision;
use swarm_model::outcome::{Kind, Rejection};

use super::backend::ProposeError;
use super::consistency::{REVISION, STALE};
use super::types::ErrorBody;

/// Code of a reference that several objects answer to.
pub(super) const AMBIGUOUS: &str = "ambiguous";

/// A failed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    /// Whether it was decided on a view that may miss newer changes.
    pub(super) stale: bool,
    /// The state that a read was decided on.
    pub(super) revision: Option<Revision>,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), stale: false, revision: None }
    }

    /// The request itself is wrong.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", message)
    }

    /// No such object.
    pub(super) fn not_found(kind: Kind, reference: &str) -> Self {
        Self::from(Rejection::NotFound { kind, reference: reference.to_owned() })
    }

    /// Several objects answer to the reference.
    pub(super) fn ambiguous(message: String) -> Self {
        Self::new(StatusCode::CONFLICT, AMBIGUOUS, message)
    }

    /// The object's state does not allow it.
    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    /// The caller may not.
    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// The body is over the limit.
    pub(super) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    /// The body did not come in time.
    pub(super) fn too_slow(message: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "invalid", message)
    }

    /// No such route.
    pub(super) fn no_route(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// The route has other methods.
    pub(super) fn wrong_method(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "invalid", message)
    }

    /// No majority of the voters answers.
    pub(super) fn no_quorum(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "no_quorum", message)
    }

    /// This node cannot, now.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }

    /// History that is no longer kept.
    pub(super) fn gone(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "gone", message)
    }

    /// Our own mistake.
    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    /// As it goes out.
    pub(super) fn body(self) -> ErrorBody {
        ErrorBody { message: self.message, code: self.code.to_owned() }
    }
}

impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        let message = rejection.to_string();
        let (status, code) = match rejection {
            Rejection::NotFound { .. }
            | Rejection::NoSuchVersion { .. }
            | Rejection::NoRun { .. } => (StatusCode::NOT_FOUND, "not_found"),
            Rejection::NameTaken { .. } => (StatusCode::CONFLICT, "name_taken"),
            Rejection::VersionConflict { .. } => (StatusCode::CONFLICT, "version_conflict"),
            Rejection::RevisionConflict { .. } => (StatusCode::CONFLICT, "revision_conflict"),
            Rejection::InUse { .. } => (StatusCode::CONFLICT, "in_use"),
            Rejection::Invalid { .. } => (StatusCode::BAD_REQUEST, "invalid"),
            Rejection::NodeNotDown { .. }
            | Rejection::LastManager { .. }
            | Rejection::NoUpdate { .. }
            | Rejection::NotAJob { .. }
            | Rejection::RunActive { .. }
            | Rejection::AlreadyInitialised => (StatusCode::CONFLICT, "conflict"),
            Rejection::TokenExpired => (StatusCode::FORBIDDEN, "forbidden"),
            // Only a leader's own plans are refused for their term.
            Rejection::StaleTerm { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        Self::new(status, code, message)
    }
}

impl ApiError {
    /// Of a change that was not made; `standing` says who of the voters is heard.
    pub(super) fn of_proposal(error: ProposeError, standing: impl FnOnce() -> String) -> Self {
        match error {
            ProposeError::Rejected(rejection) => rejection.into(),
            ProposeError::NoQuorum { waited, may_apply } => {
                let fate = if may_apply {
                    "the change may still be made once a majority is back"
                } else {
                    "nothing was changed"
                };
                let waited = waited.as_secs_f32();
                Self::no_quorum(format!(
                    "no quorum: {}; tried for {waited:.1} s, {fate}; start the silent voters \
                     again or mend the network between them; if they are lost for good, go on \
                     without them: `swarm recover` on a manager",
                    standing(),
                ))
            }
            ProposeError::Unknown => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "unknown_outcome",
                format!("{error}: look before asking again, or repeat it with its Idempotency-Key"),
            ),
            ProposeError::Forbidden { reason } => {
                Self::new(StatusCode::FORBIDDEN, "forbidden", reason)
            }
            ProposeError::TooLarge { .. } => Self::too_large(error.to_string()),
            ProposeError::Unavailable { reason } => Self::unavailable(reason),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status;
        // The rest of the body is not read: the connection cannot be used again.
        let close = matches!(status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT);
        let (stale, revision) = (self.stale, self.revision);
        let mut response = super::answer::json(status, &self.body());
        if let Some(revision) = revision {
            response.headers_mut().insert(REVISION, HeaderValue::from(revision.0));
        }
        if stale {
            response.headers_mut().insert(STALE, HeaderValue::from_static("true"));
        }
        if close {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use swarm_model::meta::Version;

    fn proposal(error: ProposeError) -> (u16, &'static str) {
        let error = ApiError::of_proposal(error, || "1 of 3 voters is heard".to_owned());
        (error.status.as_u16(), error.code)
    }

    #[test]
    fn rejections_have_their_status_and_code() {
        let name = || "web".to_owned();
        let conflict = Rejection::VersionConflict {
            kind: Kind::Service,
            name: name(),
            have: Version(2),
            given: Version(1),
        };
        assert_eq!(proposal(conflict.into()), (409, "version_conflict"));
        let taken = Rejection::NameTaken { kind: Kind::Service, name: name() };
        assert_eq!(proposal(taken.into()), (409, "name_taken"));
        let missing = Rejection::NotFound { kind: Kind::Service, reference: name() };
        assert_eq!(proposal(missing.into()), (404, "not_found"));
    }

    #[test]
    fn lost_quorum_says_who_is_heard_and_whether_anything_changed() {
        let error = ApiError::of_proposal(
            ProposeError::NoQuorum { waited: Duration::from_secs(10), may_apply: false },
            || "1 of 3 voters is heard".to_owned(),
        );
        assert_eq!((error.status.as_u16(), error.code), (503, "no_quorum"));
        assert!(error.message.contains("1 of 3 voters"), "{}", error.message);
        assert!(error.message.contains("nothing was changed"), "{}", error.message);
        assert_eq!(proposal(ProposeError::Unknown), (503, "unknown_outcome"));
    }
}
