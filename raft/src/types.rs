//! The types that openraft is used with, under short names. None of them leaves this crate.

use std::collections::BTreeSet;
use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use openraft::type_config::alias;
use serde::{Deserialize, Serialize};
use swarm_model::id::NodeId;
use swarm_model::meta::Revision;
use swarm_model::outcome::Outcome;

/// A node id as openraft takes it (its test suite makes ids from numbers).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub(crate) struct Id(pub(crate) NodeId);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl From<u64> for Id {
    fn from(number: u64) -> Self {
        Self(NodeId::from_raw(number.into()))
    }
}

/// First byte of a log record's payload: a leader's first record, without content.
pub(crate) const BLANK: u8 = 0;
/// First byte of a log record's payload: a command follows.
pub(crate) const COMMAND: u8 = 1;
/// First byte of a log record's payload: a membership follows.
pub(crate) const MEMBERSHIP: u8 = 2;

/// A command as it stands in the log, on disk and on the wire: encoded once, by its proposer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Encoded(Bytes);

impl Encoded {
    /// Wraps an encoded command.
    pub(crate) fn new(command: &[u8]) -> Self {
        let mut payload = BytesMut::with_capacity(command.len() + 1);
        payload.put_u8(COMMAND);
        payload.extend_from_slice(command);
        Self(payload.freeze())
    }

    /// Wraps a log record's payload that starts with [`COMMAND`].
    pub(crate) fn from_payload(payload: Bytes) -> Self {
        Self(payload)
    }

    /// The log record's payload.
    pub(crate) fn payload(&self) -> &Bytes {
        &self.0
    }

    /// The encoded command alone.
    pub(crate) fn command(&self) -> &[u8] {
        self.0.get(1..).unwrap_or_default()
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command of {} bytes", self.0.len())
    }
}

impl fmt::Display for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What applying an entry answers: the revision of the change, which is that of an earlier entry
/// when this one repeats its request, and the outcome.
pub(crate) type Answer = (Revision, Outcome);

openraft::declare_raft_types!(
    /// Textbook Raft: at most one leader a term, a log id is (term, index).
    pub(crate) Types:
        D = Encoded,
        R = Answer,
        NodeId = Id,
        Node = (),
        Term = u64,
        LeaderId = openraft::impls::leader_id_std::LeaderId<u64, Id>,
        AsyncRuntime = openraft_rt_tokio::TokioRuntime,
);

pub(crate) type Entry = alias::EntryOf<Types>;
pub(crate) type LogId = alias::LogIdOf<Types>;
pub(crate) type Vote = alias::VoteOf<Types>;
pub(crate) type Payload = openraft::EntryPayload<Encoded, Id, ()>;
pub(crate) type Membership = openraft::Membership<Id, ()>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<Types>;
pub(crate) type Snapshot = alias::SnapshotOf<Types, Bytes>;
pub(crate) type AppendRequest = openraft::raft::AppendEntriesRequest<Types>;
pub(crate) type AppendResult = openraft::raft::StreamAppendResult<Types>;
pub(crate) type RpcError = openraft::errors::RPCError<Types>;
pub(crate) type Fatal = openraft::errors::Fatal<Types>;

/// The log id of `index` in `term`.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(openraft::vote::leader_id_std::CommittedLeaderId::new(term), index)
}

/// Node ids as the rest of the project takes them.
pub(crate) fn node_ids(ids: impl IntoIterator<Item = Id>) -> BTreeSet<NodeId> {
    ids.into_iter().map(|id| id.0).collect()
}
