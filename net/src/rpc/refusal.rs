//! What a node answers instead of a result. It travels over the wire, so it is append-only.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use swarm_model::epoch::Epoch;

/// Why a call was refused, for the caller's program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RefusalCode {
    /// The caller's role may not make this call.
    NotAllowed,
    /// The caller was removed from the cluster, says the callee; the detail tells in which epoch of it.
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

    /// The refusal of a caller that was removed from the cluster; `epoch` is the callee's.
    pub fn removed(message: impl Into<String>, epoch: Option<Epoch>) -> Self {
        let detail = epoch.map(|epoch| Bytes::copy_from_slice(&epoch.to_bytes()));
        Self::new(RefusalCode::Removed, message).with_detail(detail.unwrap_or_default())
    }

    /// The epoch in which the caller is among the removed, if that is why it was refused. One that was
    /// left out of another epoch than its own was not removed from its own.
    pub fn removed_in(&self) -> Option<Epoch> {
        let detail = || <[u8; 16]>::try_from(&*self.detail).ok();
        (self.code == RefusalCode::Removed).then(detail).flatten().map(Epoch::from_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_tells_its_epoch_and_nothing_else_does() {
        let epoch = Epoch { number: 2, mark: 3 };
        let removed = |epoch| Refusal::removed("removed", epoch);
        assert_eq!(removed(Some(epoch)).removed_in(), Some(epoch));
        assert_eq!(removed(None).removed_in(), None);
        let cut = removed(Some(epoch)).with_detail(Bytes::from_static(b"short"));
        assert_eq!(cut.removed_in(), None);
        let busy = Refusal { code: RefusalCode::Busy, ..removed(Some(epoch)) };
        assert_eq!(busy.removed_in(), None);
    }
}
