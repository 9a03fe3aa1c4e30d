//! The parts of a request that handlers take: who asks, under which request id, the query, the body.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use http::request::Parts;
use http::{HeaderName, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};

use swarm_model::command::Actor;
use swarm_model::id::RequestId;
use swarm_model::meta::{Revision, Version};
use swarm_model::units::Timestamp;

use super::errors::ApiError;
use super::state::{Api, write_deadline};

/// The most bytes of a request's body.
pub(super) const BODY_MAX: usize = 2 << 20;
/// How long a body may take to arrive.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// Carries the id under which a write may be repeated.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A request that changes something.
#[derive(Debug)]
pub(super) struct Write {
    /// Who asks.
    pub(super) caller: Actor,
    /// Repetitions carry the same one.
    pub(super) request: RequestId,
    /// When it has to be answered.
    pub(super) deadline: Instant,
    /// Refused when specs, nodes or configs changed since; only routes that allow [`GUARD`] have one.
    pub(super) if_revision: Option<Revision>,
}

/// The parameter of changes that were decided on a plan.
pub(super) const GUARD: &str = "if-revision";
/// The parameter of changes that were decided on one object.
pub(super) const VERSION: &str = "version";

impl FromRequestParts<Api> for Write {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Actor>().cloned();
        let caller = caller.ok_or_else(|| ApiError::internal("the caller is not known"))?;
        let request = match parts.headers.get(IDEMPOTENCY_KEY) {
            None => RequestId::from_raw(api.backend.draw_id()),
            Some(key) => key.to_str().ok().and_then(|key| key.parse().ok()).ok_or_else(|| {
                ApiError::invalid("header Idempotency-Key: an id is 25 characters of 0-9 and a-z")
            })?,
        };
        let params = Params::from_request_parts(parts, api).await?;
        let if_revision = params.revision_of(GUARD)?;
        Ok(Self { caller, request, deadline: write_deadline(), if_revision })
    }
}

/// A body of JSON.
#[derive(Debug)]
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Api> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _api: &Api) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let announced = parts.headers.get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let bytes = read(body, announced).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            ApiError::invalid(match error.classify() {
                serde_json::error::Category::Eof if bytes.is_empty() => {
                    "the request needs a body of JSON".to_owned()
                }
                _ => format!("the request's body: {error}"),
            })
        })
    }
}

async fn read(body: Body, announced: Option<u64>) -> Result<axum::body::Bytes, ApiError> {
    let too_large =
        || ApiError::too_large(format!("the request's body is over the limit of {BODY_MAX} bytes"));
    if announced.is_some_and(|length| length > BODY_MAX as u64) {
        return Err(too_large());
    }
    match timeout(BODY_PATIENCE, Limited::new(body, BODY_MAX).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(ApiError::invalid(format!("the request's body broke off: {error}"))),
        Err(_elapsed) => {
            let waited = BODY_PATIENCE.as_secs();
            Err(ApiError::too_slow(format!("the request's body did not come within {waited} s")))
        }
    }
}

/// The query of a request.
#[derive(Debug)]
pub(super) struct Params(Vec<(String, String)>);

impl FromRequestParts<Api> for Params {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _api: &Api) -> Result<Self, ApiError> {
        if parts.uri.query().is_none_or(str::is_empty) {
            return Ok(Self(Vec::new()));
        }
        Query::try_from_uri(&parts.uri)
            .map(|Query(pairs)| Self(pairs))
            .map_err(|error| ApiError::invalid(format!("the request's query: {error}")))
    }
}

impl Params {
    /// Refuses parameters that the route does not know.
    pub(super) fn allow(&self, known: &[&str]) -> Result<&Self, ApiError> {
        match self.0.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            None => Ok(self),
            Some((key, _)) => {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let message = format!("parameter \"{key}\" is not known here: use {known}");
                Err(ApiError::invalid(message))
            }
        }
    }

    /// A parameter as text; an empty one counts as not given.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        let given = self.0.iter().rev().find(|(name, _)| name == key);
        given.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    fn parse<T>(&self, key: &str, form: &str, read: impl Fn(&str) -> Option<T>) -> Parsed<T> {
        let Some(text) = self.text(key) else { return Ok(None) };
        read(text)
            .map(Some)
            .ok_or_else(|| ApiError::invalid(format!("parameter {key}: \"{text}\" is not {form}")))
    }

    /// `true` or `false`; `None` when not given.
    pub(super) fn switch(&self, key: &str) -> Parsed<bool> {
        self.parse(key, "true or false", |text| match text {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        })
    }

    /// The version that a change was decided on.
    pub(super) fn version(&self) -> Parsed<Version> {
        self.version_of(VERSION)
    }

    /// Any version.
    pub(super) fn version_of(&self, key: &str) -> Parsed<Version> {
        self.parse(key, "a version number", |text| text.parse().ok().map(Version))
    }

    /// Any revision.
    fn revision_of(&self, key: &str) -> Parsed<Revision> {
        self.parse(key, "a revision", |text| text.parse().ok().map(Revision))
    }

    /// A number within `range`.
    pub(super) fn count(&self, key: &str, range: std::ops::RangeInclusive<usize>) -> Parsed<usize> {
        let form = format!("a number from {} to {}", range.start(), range.end());
        self.parse(key, &form, |text| text.parse().ok().filter(|count| range.contains(count)))
    }

    /// A point in time: RFC 3339, or Unix seconds.
    pub(super) fn time(&self, key: &str) -> Parsed<Timestamp> {
        self.parse(key, "a time like 2026-01-31T12:00:00Z, or Unix seconds", read_time)
    }

    /// A number of lines; `all` and what is not given have no bound.
    pub(super) fn tail(&self) -> Parsed<usize> {
        let tail = self.parse("tail", "a number of lines, or all", |text| match text {
            "all" => Some(None),
            _ => text.parse().ok().map(Some),
        })?;
        Ok(tail.flatten())
    }
}

/// A parameter that may be missing, or wrong.
pub(super) type Parsed<T> = Result<Option<T>, ApiError>;

fn read_time(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<u64>() {
        return seconds.checked_mul(1000).map(Timestamp::from_millis);
    }
    Timestamp::parse_rfc3339(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params(pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect())
    }

    #[test]
    fn parameters_are_read_or_refused_with_what_would_be_right() {
        let given = params(&[("follow", "1"), ("tail", "all"), ("since", "5"), ("version", "x")]);
        assert_eq!(given.switch("follow"), Ok(Some(true)));
        assert_eq!(given.tail(), Ok(None));
        assert_eq!(given.time("since"), Ok(Some(Timestamp::from_millis(5000))));
        assert_eq!(given.time("until"), Ok(None));
        let error = given.version().expect_err("is no number");
        assert!(error.message.contains("version number"), "{}", error.message);
    }

    #[test]
    fn unknown_parameters_are_refused_and_the_known_ones_named() {
        let given = params(&[("folow", "1")]);
        let error = given.allow(&["follow", "since"]).map(drop).expect_err("a typo");
        assert!(error.message.contains("follow, since"), "{}", error.message);
    }
}
