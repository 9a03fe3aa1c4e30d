//! The numbers with which connections and streams are closed, and what they mean to a caller.
//!
//! Only a hint travels here: refusals with reasons are answers (`rpc::Refusal`).

use quinn::{ConnectionError, VarInt};

use super::epochs;
use crate::rpc::Refusal;
use crate::transport::CallError;

/// Nothing is wrong: the connection is not needed any more.
pub(crate) const DONE: VarInt = VarInt::from_u32(0);
/// The node stops.
pub(crate) const SHUTDOWN: VarInt = VarInt::from_u32(1);
/// The peer was removed from the cluster.
pub(crate) const REMOVED: VarInt = VarInt::from_u32(2);
/// The peer's certificate does not allow the lane, or is of another cluster.
pub(crate) const NOT_ADMITTED: VarInt = VarInt::from_u32(3);
/// Too many connections from the peer.
pub(crate) const TOO_MANY: VarInt = VarInt::from_u32(4);
/// A stream was given up in the middle of a frame.
pub(crate) const CANCELLED: VarInt = VarInt::from_u32(5);

/// The peer's certificate has expired.
pub(crate) const EXPIRED: VarInt = VarInt::from_u32(7);
/// The peer belongs to another epoch of the cluster.
pub(crate) const OTHER_EPOCH: VarInt = VarInt::from_u32(6);

/// How a lost connection looks to the caller whose request was on it.
pub(crate) fn connection_fault(error: &ConnectionError) -> CallError {
    match error {
        ConnectionError::ApplicationClosed(close) if close.error_code == REMOVED => {
            let epoch = epochs::read_farewell(&close.reason).map(|(epoch, _left_out)| epoch);
            let reason = "this node was removed from the cluster";
            CallError::Refused(Refusal::removed(reason, epoch))
        }
        other => {
            tracing::trace!(error = %other, "connection lost");
            CallError::Closed
        }
    }
}
