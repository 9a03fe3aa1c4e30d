//! The port between nodes: what a transport offers, what it asks back, and how calls fail.
//!
//! `quic` carries it between machines, `sim` inside one test. Neither retries for the caller, but for
//! one case: a call on a connection that the restarted peer no longer knows is sent once more.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use swarm_model::epoch::Epoch;
use swarm_model::id::NodeId;
use swarm_model::node::Role;

use crate::frame::FrameError;
pub use crate::late::LateHandler;
use crate::rpc::{Method, Refusal};
pub use crate::stream::{Carried, MessageReceiver, MessageSender, MessageStream};

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Someone without a certificate.
    Anonymous {
        /// Where the call comes from.
        addr: SocketAddr,
    },
    /// A node of this cluster.
    Node(Peer),
}

/// A node at the other end, as its certificate and the member list say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// From its certificate.
    pub node_id: NodeId,
    /// From the member list; from the certificate while the list does not know the node.
    pub role: Role,
    /// Where its packets come from.
    pub addr: SocketAddr,
}

/// What the member list says about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// It belongs to the cluster.
    Member(Role),
    /// It belonged to the cluster and never will again.
    Removed,
    /// Not in the local replica (yet): the role in its certificate counts.
    Unknown,
}

/// Why two nodes do not talk.
pub(crate) fn other_epoch(ours: Epoch, theirs: Epoch) -> String {
    format!("it belongs to epoch {theirs} of the cluster, this node to epoch {ours}")
}

/// The member list, asked at each call; it must answer at once.
pub trait Members: Send + Sync + 'static {
    /// What is known about `node`.
    fn membership(&self, node: NodeId) -> Membership;

    /// The epoch that this node belongs to; `None` while it does not know. Nodes that know different
    /// ones never exchange a call, a stream or a datagram.
    fn epoch(&self) -> Option<Epoch> {
        None
    }

    /// A node of a newer or a rival epoch showed itself, or one of ours that counts us among the removed;
    /// whether to believe it is decided there.
    fn met(&self, other: Foreign) {
        tracing::debug!(peer = %other.node, epoch = %other.epoch, "met another epoch");
    }
}

/// A node that belongs to another epoch of the same cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Foreign {
    /// The node.
    pub node: NodeId,
    /// The role in its certificate.
    pub role: Role,
    /// Its epoch.
    pub epoch: Epoch,
    /// Whether it counts us among those that were removed or left out.
    pub left_out: bool,
}

/// What answers calls. It is asked only after the method's [`crate::rpc::Rule`] has let the caller pass.
pub trait Handler: Send + Sync + 'static {
    /// Answers one call. The future is dropped when the caller's deadline has passed, and not
    /// before, even if the caller goes away.
    fn call(
        &self,
        from: Caller,
        method: Method,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, Refusal>>;

    /// Serves one stream; it closes when the future ends and the stream is dropped.
    fn stream(
        &self,
        from: Peer,
        method: Method,
        hello: Bytes,
        stream: MessageStream,
    ) -> BoxFuture<'static, ()>;

    /// Takes one datagram of the gossip lane; it must return at once.
    fn datagram(&self, from: Peer, payload: Bytes);
}

/// A way to the other nodes.
pub trait Transport: Send + Sync + Debug + 'static {
    /// Sends `body` and waits for the answer, at most for `deadline`.
    ///
    /// # Errors
    /// See [`CallError`]; [`CallError::may_have_executed`] tells whether the peer may have acted.
    ///
    /// # Cancel safety
    /// Dropping the future gives up on the answer; the peer may still act.
    fn call(
        &self,
        to: NodeId,
        method: Method,
        body: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, CallError>>;

    /// Waits until a call to `to` can be sent, at most for `deadline`; sends nothing of it. A
    /// transport without connections always can.
    ///
    /// # Errors
    /// See [`CallError`].
    fn connect(
        &self,
        to: NodeId,
        method: Method,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<(), CallError>> {
        let _everywhere_at_once = (to, method, deadline);
        Box::pin(std::future::ready(Ok(())))
    }

    /// Opens a stream and waits until the peer has admitted it, at most for `deadline`.
    ///
    /// # Errors
    /// See [`CallError`].
    fn open(
        &self,
        to: NodeId,
        method: Method,
        hello: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<MessageStream, CallError>>;

    /// Sends a datagram on the gossip lane: never waits, may lose it (so `Ok` promises nothing).
    ///
    /// # Errors
    /// When it cannot even be tried: no address, too large, removed.
    fn datagram(&self, to: NodeId, payload: Bytes) -> Result<(), CallError>;

    /// Says where `node` was last heard of. A changed address makes later calls dial anew.
    fn set_address(&self, node: NodeId, addr: SocketAddr);

    /// Where `node` is dialed.
    fn address(&self, node: NodeId) -> Option<SocketAddr>;

    /// Cuts `node` off: closes every connection with it, both ways, at once.
    fn disconnect(&self, node: NodeId);

    /// Calls once at `addr`, where `node` may be, to let it hear of our epoch. For a node that was left
    /// out, to which nothing else is ever said. Does not wait.
    fn knock(&self, node: NodeId, addr: SocketAddr);

    /// The measured round-trip time to `node`, while there is a connection.
    fn round_trip(&self, node: NodeId) -> Option<Duration>;
}

/// How a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Nobody said where the node is. Nothing was sent.
    #[error("no address is known for node {node}")]
    UnknownAddress {
        /// The node.
        node: NodeId,
    },
    /// There is no connection to be had. Nothing was sent; retry later.
    #[error("node {node} cannot be reached: {reason}")]
    Unreachable {
        /// The node.
        node: NodeId,
        /// What the last attempt said.
        reason: String,
    },
    /// This node knows that the other one was removed from the cluster. Nothing was sent; never try again.
    /// (A peer that counts *this* node as removed answers with a refusal.)
    #[error("node {node} was removed from the cluster")]
    PeerRemoved {
        /// The node.
        node: NodeId,
    },
    /// No answer in time. The request may have been executed.
    #[error("no answer before the deadline")]
    DeadlineExceeded,
    /// The peer answered that it will not; the code says whether to retry. Not executed, unless the
    /// code is [`crate::rpc::RefusalCode::TimedOut`] or `Internal`.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Over a limit of the wire. Nothing was sent; sending it again fails again.
    #[error("{size} bytes are over the limit of {limit} bytes")]
    TooLarge {
        /// The size that was asked for.
        size: usize,
        /// The size that is allowed.
        limit: usize,
    },
    /// The connection or stream ended first. The request may have been executed.
    #[error("the connection was closed")]
    Closed,
    /// The peer sent what is no answer. The request may have been executed.
    #[error("the peer broke the protocol")]
    Protocol(#[source] FrameError),
}

impl CallError {
    /// Whether the peer may have acted on the request.
    pub fn may_have_executed(&self) -> bool {
        use crate::rpc::RefusalCode;
        match self {
            Self::UnknownAddress { .. }
            | Self::Unreachable { .. }
            | Self::PeerRemoved { .. }
            | Self::TooLarge { .. } => false,
            Self::Refused(refusal) => {
                matches!(refusal.code, RefusalCode::TimedOut | RefusalCode::Internal)
            }
            Self::DeadlineExceeded | Self::Closed | Self::Protocol(_) => true,
        }
    }
}

impl From<FrameError> for CallError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::TooLarge { size } => {
                Self::TooLarge { size, limit: crate::frame::MAX_FRAME }
            }
            other => Self::Protocol(other),
        }
    }
}
