//! A live answer of JSON lines.

use bytes::BytesMut;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

/// The longest line.
const LINE_MAX: usize = 4 << 20;

/// Why a stream ended early.
#[derive(Debug)]
pub(crate) enum StreamError {
    /// The connection broke.
    Lost(String),
    /// A line is not what it should be.
    Malformed(String),
}

impl std::fmt::Display for StreamError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lost(reason) => write!(f, "the connection to the node was lost: {reason}"),
            Self::Malformed(reason) => write!(f, "the node's answer is not understood: {reason}"),
        }
    }
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
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|error| StreamError::Malformed(error.to_string()));
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
