//! Snapshots: what is said before and after the chunks, and the head that is kept beside a snapshot.

use serde::{Deserialize, Serialize};

use super::{Ballot, LogAt, Members, log_at};
use crate::types::{LogId, Membership, SnapshotMeta, StoredMembership};

/// Where in the log a snapshot stands and who was a member there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct SnapshotHead {
    last: Option<LogAt>,
    members_at: Option<LogAt>,
    members: Members,
}

impl From<&SnapshotMeta> for SnapshotHead {
    fn from(meta: &SnapshotMeta) -> Self {
        Self {
            last: log_at(meta.last_log_id.as_ref()),
            members_at: log_at(meta.last_membership.log_id().as_ref()),
            members: meta.last_membership.membership().into(),
        }
    }
}

impl TryFrom<SnapshotHead> for SnapshotMeta {
    type Error = String;

    fn try_from(head: SnapshotHead) -> Result<Self, String> {
        // A state machine that never saw a membership has the empty one, which has no valid form.
        let membership = if head.members == Members::default() {
            Membership::default()
        } else {
            Membership::try_from(head.members)?
        };
        let at = head.members_at.map(LogId::from);
        Ok(Self {
            last_log_id: head.last.map(LogId::from),
            last_membership: StoredMembership::new(at, membership),
        })
    }
}

/// What the leader says before it sends the chunks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SnapshotHello {
    pub(crate) vote: Ballot,
    pub(crate) head: SnapshotHead,
    /// Bytes in all chunks together.
    pub(crate) length: u64,
    /// CRC-32C of them.
    pub(crate) crc: u32,
}

/// What the follower says after the last chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SnapshotAnswer {
    /// It is installed, or was not needed; the follower's vote tells whether the leader still is one.
    Installed(Ballot),
    /// The bytes are not those that were announced.
    Damaged,
    /// The follower cannot install it.
    Failed(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Id, log_id};
    use std::collections::{BTreeMap, BTreeSet};
    use swarm_net::frame;

    #[test]
    fn head_is_pinned_and_round_trips() {
        let membership = Membership::new(
            vec![BTreeSet::from([Id::from(1)])],
            BTreeMap::from([(Id::from(1), ()), (Id::from(2), ())]),
        );
        let meta = SnapshotMeta {
            last_log_id: Some(log_id(2, 5)),
            last_membership: StoredMembership::new(
                Some(log_id(1, 3)),
                membership.expect("the voter is a member"),
            ),
        };
        let head = SnapshotHead::from(&meta);
        assert_eq!(frame::encode(&head)[..], [1, 1, 2, 5, 1, 1, 3, 1, 1, 1, 2, 1, 2]);
        assert_eq!(SnapshotMeta::try_from(head), Ok(meta));
    }

    #[test]
    fn head_of_an_empty_state_round_trips() {
        let meta = SnapshotMeta::default();
        assert_eq!(SnapshotMeta::try_from(SnapshotHead::from(&meta)), Ok(meta));
    }
}
