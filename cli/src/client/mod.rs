//! The API over the node's Unix socket: one HTTP/1.1 connection a request.
//!
//! Writes carry an idempotency key, so a write whose connection was lost is asked again and done once.

mod connection;
mod endpoint;
mod refusal;
mod session;
mod stream;

pub(crate) use endpoint::{Endpoint, encode};
pub(crate) use session::Session;
pub(crate) use stream::Lines;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde::Serialize;
use serde::de::DeserializeOwned;
use swarm_model::id::RequestId;
use swarm_net::task::TaskGroup;
use swarm_node::api::types::Written;
use tokio::time::{Instant, sleep};

use crate::exit::{Exit, Failure};
use crate::output;
use connection::{Reply, SendError};

/// How long a request may take, with all its repetitions.
const DEADLINE: Duration = Duration::from_secs(20);
/// Pause before the first repetition; doubles up to [`RETRY_PAUSE_MAX`].
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause between two repetitions.
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(500);

/// Query parameters.
pub(crate) type Query<'a> = &'a [(&'a str, &'a str)];

/// Speaks with one node.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    endpoint: Endpoint,
    tasks: TaskGroup,
}

impl Client {
    /// A client of the node at `endpoint`; connects when it is used.
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, tasks: TaskGroup::new() }
    }

    /// Where the node is.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Reads an object. Warns when the answer is old.
    ///
    /// # Errors
    /// What the API refused, with its exit code; unreachable when no node answers.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: Query<'_>,
    ) -> Result<T, Failure> {
        let request = connection::Request::new(Method::GET, target(path, query), None, None);
        let reply = self.send(&request, DEADLINE).await?;
        warn_if_stale(&reply.headers, query);
        decode(&reply.body)
    }

    /// Changes something.
    ///
    /// # Errors
    /// What the API refused, with its exit code; unreachable when no node answers.
    pub(crate) async fn post<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        query: Query<'_>,
        body: &B,
    ) -> Result<T, Failure> {
        self.post_within(path, query, body, DEADLINE).await
    }

    /// Changes something that may take long.
    ///
    /// # Errors
    /// As [`Client::post`].
    pub(crate) async fn post_within<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        query: Query<'_>,
        body: &B,
        deadline: Duration,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Failure::failed(format!("cannot write the request: {error}")))?;
        let key = RequestId::from_raw(rand::random());
        let request =
            connection::Request::new(Method::POST, target(path, query), Some(key), Some(body));
        decode(&self.send(&request, deadline).await?.body)
    }

    /// Asks about something that is described in `body`, and changes nothing. Warns when the answer is
    /// old.
    ///
    /// # Errors
    /// As [`Client::post`].
    pub(crate) async fn ask<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        path: &str,
        query: Query<'_>,
        body: &B,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Failure::failed(format!("cannot write the request: {error}")))?;
        let request = connection::Request::new(Method::POST, target(path, query), None, Some(body));
        let reply = self.send(&request, DEADLINE).await?;
        warn_if_stale(&reply.headers, query);
        decode(&reply.body)
    }

    /// Removes something.
    ///
    /// # Errors
    /// What the API refused, with its exit code; unreachable when no node answers.
    pub(crate) async fn delete(&self, path: &str, query: Query<'_>) -> Result<Written, Failure> {
        let key = RequestId::from_raw(rand::random());
        let request =
            connection::Request::new(Method::DELETE, target(path, query), Some(key), None);
        decode(&self.send(&request, DEADLINE).await?.body)
    }

    /// Opens a stream of JSON lines.
    ///
    /// # Errors
    /// What the API refused, with its exit code; unreachable when no node answers.
    pub(crate) async fn stream(&self, path: &str, query: Query<'_>) -> Result<Lines, Failure> {
        let request = connection::Request::new(Method::GET, target(path, query), None, None);
        let open = connection::open(&self.endpoint, &request, &self.tasks);
        let answer = tokio::time::timeout(DEADLINE, open)
            .await
            .map_err(|_elapsed| too_slow(&self.endpoint))?
            .map_err(|error| error.into_failure(&self.endpoint))?;
        if answer.status().is_success() {
            return Ok(Lines::new(answer.into_body()));
        }
        let reply = connection::collect(answer)
            .await
            .map_err(|error| error.into_failure(&self.endpoint))?;
        Err(refusal::failure(reply.status, &reply.body))
    }

    /// Sends a request; repeats it while connections are lost, but neither when the first cannot be
    /// made nor when nobody listens any more.
    async fn send(
        &self,
        request: &connection::Request,
        deadline: Duration,
    ) -> Result<Reply, Failure> {
        let end = Instant::now() + deadline;
        let mut pause = RETRY_PAUSE;
        let mut lost: Option<String> = None;
        loop {
            let attempt = connection::exchange(&self.endpoint, request, &self.tasks);
            let error = match tokio::time::timeout_at(end, attempt).await {
                Ok(Ok(reply)) if reply.status.is_success() => return Ok(reply),
                Ok(Ok(reply)) => return Err(refusal::failure(reply.status, &reply.body)),
                Ok(Err(SendError::Lost(reason))) => {
                    lost = Some(reason.clone());
                    SendError::Lost(reason)
                }
                Ok(Err(error)) => match &lost {
                    Some(reason) => error.after(reason),
                    None => error,
                },
                Err(_elapsed) => return Err(too_slow(&self.endpoint)),
            };
            let final_word = lost.is_none() || matches!(error, SendError::Gone(_));
            if final_word || Instant::now() + pause >= end {
                return Err(error.into_failure(&self.endpoint));
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }
}

/// Path and query as the request line has them.
fn target(path: &str, query: Query<'_>) -> String {
    let mut target = path.to_owned();
    for (index, (key, value)) in query.iter().enumerate() {
        target.push(if index == 0 { '?' } else { '&' });
        target.push_str(key);
        target.push('=');
        target.push_str(&encode(value));
    }
    target
}

fn decode<T: DeserializeOwned>(body: &Bytes) -> Result<T, Failure> {
    let text: &[u8] = if body.is_empty() { b"null" } else { body };
    serde_json::from_slice(text).map_err(|error| {
        let hint = "the node may run another version of swarm (compare with `swarm version`)";
        Failure::failed(format!("the node's answer is not understood: {error}; {hint}"))
    })
}

fn too_slow(endpoint: &Endpoint) -> Failure {
    let message = format!(
        "the node at {endpoint} did not answer in time: see its log (daemon.log), or try again"
    );
    Failure::new(Exit::Unreachable, message)
}

/// Says that an answer is old, unless an old one was asked for.
fn warn_if_stale(headers: &HeaderMap, query: Query<'_>) {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if header("swarm-stale") != Some("true") || query.iter().any(|(key, _)| *key == "stale") {
        return;
    }
    let silent = header("swarm-leader-silent-ms").and_then(|millis| millis.parse().ok());
    let age = silent.map(|millis| {
        let span = Duration::from_millis(millis);
        format!(" (nothing heard from a leader for {})", crate::parse::duration::format(span))
    });
    let age = age.unwrap_or_default();
    output::warning(&format!("no quorum: this is the node's own, possibly old, copy{age}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_encoded() {
        assert_eq!(target("/v1/tasks", &[]), "/v1/tasks");
        let query = [("filters", r#"{"a":["b c"]}"#), ("tail", "5")];
        let want = "/v1/tasks?filters=%7B%22a%22%3A%5B%22b%20c%22%5D%7D&tail=5";
        assert_eq!(target("/v1/tasks", &query), want);
    }
}

#[cfg(test)]
#[path = "retry_tests.rs"]
mod retry_tests;
