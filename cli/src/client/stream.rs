//! A live answer of JSON lines.

use bytes::BytesMut;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use swarm_node::api::types::ErrorBody;

use super::refusal;
use crate::exit::{Exit, Failure};

/// The longest line.
const LINE_MAX: usize = 4 << 20;

/// Why a stream ended early.
#[derive(Debug)]
pub(crate) enum StreamError {
    /// The node gave up, and said why.
    Refused(Failure),
    /// The connection broke.
    Lost(String),
    /// A line is not what it should be.
    Malformed(String),
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Refused(failure) => failure,
            StreamError::Lost(reason) => {
                let message = format!("the connection to the node was lost: {reason}");
                Self::new(Exit::Unreachable, message)
            }
            StreamError::Malformed(reason) => {
                Self::failed(format!("the node's answer is not understood: {reason}"))
            }
        }
    }
}

/// Reads one line; an error body is the last of a stream that failed.
fn read<T: DeserializeOwned>(line: &[u8]) -> Result<T, StreamError> {
    serde_json::from_slice(line).map_err(|error| match serde_json::from_slice::<ErrorBody>(line) {
        Ok(body) => StreamError::Refused(refusal::of_body(body)),
        Err(_no_error_body) => StreamError::Malformed(error.to_string()),
    })
}

/// The lines of an answer, as they come.
#[derive(Debug)]
pub(crate) struct Lines {
    body: Incoming,
    buffer: BytesMut,
}

impl Lines {
    /// Reads from `body`.
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, buffer: BytesMut::new() }
    }

    /// The next line's object; `None` at the end.
    ///
    /// # Errors
    /// When the connection broke or a line is no such object.
    ///
    /// # Cancel safety
    /// What was read stays in the buffer.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, StreamError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end + 1);
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return read(&line).map(Some);
            }
            if self.buffer.len() > LINE_MAX {
                let reason = format!("a line has more than {LINE_MAX} bytes");
                return Err(StreamError::Malformed(reason));
            }
            match self.body.frame().await {
                None if self.buffer.is_empty() => return Ok(None),
                None => self.buffer.extend_from_slice(b"\n"),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(StreamError::Lost(error.to_string())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_body_ends_a_stream_with_its_own_exit_code() {
        let line = br#"{"Message":"no quorum","Code":"no_quorum"}"#;
        let error = read::<Vec<u32>>(line).expect_err("is an error body");
        assert_eq!(Failure::from(error).exit, Exit::Unreachable);
        let gone = b"{\"Message\":\"events are no longer kept\",\"Code\":\"gone\"}\n";
        let error = read::<swarm_node::api::types::EventEntry>(gone).expect_err("is an error body");
        assert!(Failure::from(error).message.contains("no longer kept"));
        let error = read::<Vec<u32>>(b"nonsense").expect_err("is nothing");
        assert_eq!(Failure::from(error).exit, Exit::Failed);
    }
}
