//! What a node answers instead of a result. It travels over the wire, so it is append-only.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Why a call was refused, for the caller's program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RefusalCode {
    /// The caller's role may not make this call.
    NotAllowed,
    /// The caller was removed from the cluster, says the callee.
    Removed,
    /// The callee does not know the method, or not on this lane or in this shape.
    UnknownMethod,
    /// The callee does not read this format version.
    Version,
    /// The body does not read as what the method takes.
    Malformed,
    /// The body is too long.
    TooLarge,
    /// The callee has too much to do: try again later.
    Busy,
    /// Another node leads; the detail may say which.
    NotLeader,
    /// The callee starts, stops, or has no quorum: try again later.
    Unavailable,
    /// The request reads well and is wrong.
    Invalid,
    /// An object that the request names does not exist.
    NotFound,
    /// The request contradicts what is there.
    Conflict,
    /// The callee did not answer in the caller's time; it may still have done the work.
    TimedOut,
    /// The callee failed for a reason of its own.
    Internal,
}

impl RefusalCode {
    /// Whether the same request may be granted at another time or by another node.
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::Busy | Self::NotLeader | Self::Unavailable)
    }
}

/// An answer that is not the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Why, for the program.
    pub code: RefusalCode,
    /// Why, for a person: lower case, no full stop.
    pub message: String,
    /// More for the program, such as who leads; empty when there is nothing.
    pub detail: Bytes,
}

impl Refusal {
    /// A refusal without detail.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: Bytes::new() }
    }

    /// The same refusal with `detail`.
    #[must_use]
    pub fn with_detail(mut self, detail: Bytes) -> Self {
        self.detail = detail;
        self
    }
}
