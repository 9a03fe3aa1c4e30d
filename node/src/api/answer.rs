//! The forms of an answer: one JSON document, or JSON lines as they come.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures::{Stream, StreamExt};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::errors::ApiError;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const JSON_LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");
/// Lines that go out in one piece when they are ready at once.
const LINES_AT_ONCE: usize = 64;

/// One document.
pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    let (status, body) = match serde_json::to_vec(value) {
        Ok(body) => (status, body),
        // Our types have text keys and no failing serializers.
        Err(error) => {
            tracing::error!(%error, "an answer cannot be written as json");
            (StatusCode::INTERNAL_SERVER_ERROR, br#"{"Message":"","Code":"internal"}"#.to_vec())
        }
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// A document that was written before.
pub(super) fn written_json(body: &'static str) -> Response {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// One line a value, until the stream, the client or the daemon ends. An error is the last line.
pub(super) fn lines<T, S>(values: S, ending: &CancellationToken) -> Response
where
    T: Serialize,
    S: Stream<Item = Result<T, ApiError>> + Send + 'static,
{
    let chunks = values
        .ready_chunks(LINES_AT_ONCE)
        .map(|values| {
            let mut chunk = Vec::new();
            for value in values {
                match value {
                    Ok(value) => append(&mut chunk, &value),
                    Err(error) => append(&mut chunk, &error.body()),
                }
            }
            Ok::<_, Infallible>(Bytes::from(chunk))
        })
        .take_until(ending.clone().cancelled_owned());
    let mut response = Response::new(Body::from_stream(chunks));
    response.headers_mut().insert(header::CONTENT_TYPE, JSON_LINES);
    response
}

fn append<T: Serialize>(chunk: &mut Vec<u8>, value: &T) {
    let whole = chunk.len();
    match serde_json::to_writer(&mut *chunk, value) {
        Ok(()) => chunk.push(b'\n'),
        Err(error) => {
            tracing::error!(%error, "a line cannot be written as json");
            chunk.truncate(whole);
        }
    }
}
