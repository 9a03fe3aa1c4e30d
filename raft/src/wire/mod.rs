//! What Raft nodes say to each other and keep on disk, as types of our own: an upgrade of openraft
//! must change neither format. Only translation; sending and storing happen elsewhere.

mod append;
mod snapshot;

use std::collections::{BTreeMap, BTreeSet};

use openraft::raft::{
    TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize};
use swarm_model::id::NodeId;

pub(crate) use append::{Append, AppendAnswer};
pub(crate) use snapshot::{SnapshotAnswer, SnapshotHead, SnapshotHello};

use crate::types::{self, Id, LogId, Membership, Types, Vote};

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct LogAt {
    pub(crate) term: u64,
    pub(crate) index: u64,
}

impl From<&LogId> for LogAt {
    fn from(id: &LogId) -> Self {
        Self { term: id.leader_id.term, index: id.index }
    }
}

impl From<LogAt> for LogId {
    fn from(at: LogAt) -> Self {
        types::log_id(at.term, at.index)
    }
}

/// The place of an optional log id.
pub(crate) fn log_at(id: Option<&LogId>) -> Option<LogAt> {
    id.map(LogAt::from)
}

/// A vote: who it is for, in which term, and whether a majority gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ballot {
    pub(crate) term: u64,
    pub(crate) node: NodeId,
    pub(crate) committed: bool,
}

impl From<&Vote> for Ballot {
    fn from(vote: &Vote) -> Self {
        let leader = vote.leader_id();
        Self { term: leader.term, node: leader.voted_for.0, committed: vote.is_committed() }
    }
}

impl From<Ballot> for Vote {
    fn from(ballot: Ballot) -> Self {
        if ballot.committed {
            Self::new_committed(ballot.term, Id(ballot.node))
        } else {
            Self::new(ballot.term, Id(ballot.node))
        }
    }
}

/// Who votes (two sets while a change is under way) and who is a member at all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Members {
    pub(crate) voters: Vec<BTreeSet<NodeId>>,
    pub(crate) nodes: BTreeSet<NodeId>,
}

impl From<&Membership> for Members {
    fn from(membership: &Membership) -> Self {
        let voters = membership.get_joint_config().iter();
        Self {
            voters: voters.map(|set| types::node_ids(set.iter().copied())).collect(),
            nodes: membership.nodes().map(|(id, ())| id.0).collect(),
        }
    }
}

impl TryFrom<Members> for Membership {
    type Error = String;

    fn try_from(members: Members) -> Result<Self, String> {
        let voters = members.voters.into_iter().map(|set| set.into_iter().map(Id).collect());
        let nodes: BTreeMap<_, _> = members.nodes.into_iter().map(|node| (Id(node), ())).collect();
        Self::new(voters.collect(), nodes).map_err(|error| error.to_string())
    }
}

/// A candidate asks for a vote, or whether it would get one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VoteAsk {
    pub(crate) vote: Ballot,
    pub(crate) last: Option<LogAt>,
    /// The leader asked for this election, so that its lease does not stand in the way.
    pub(crate) transfer: bool,
}

impl From<&VoteRequest<Types>> for VoteAsk {
    fn from(request: &VoteRequest<Types>) -> Self {
        Self {
            vote: (&request.vote).into(),
            last: log_at(request.last_log_id.as_ref()),
            transfer: request.leadership_transfer,
        }
    }
}

impl From<VoteAsk> for VoteRequest<Types> {
    fn from(ask: VoteAsk) -> Self {
        let mut request = Self::new(ask.vote.into(), ask.last.map(LogId::from));
        request.leadership_transfer = ask.transfer;
        request
    }
}

/// The answer to [`VoteAsk`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VoteAnswer {
    pub(crate) vote: Ballot,
    pub(crate) granted: bool,
    pub(crate) last: Option<LogAt>,
}

impl From<&VoteResponse<Types>> for VoteAnswer {
    fn from(response: &VoteResponse<Types>) -> Self {
        Self {
            vote: (&response.vote).into(),
            granted: response.vote_granted,
            last: log_at(response.last_log_id.as_ref()),
        }
    }
}

impl From<VoteAnswer> for VoteResponse<Types> {
    fn from(answer: VoteAnswer) -> Self {
        Self::new(Vote::from(answer.vote), answer.last.map(LogId::from), answer.granted)
    }
}

/// The leader hands over to `to`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TransferAsk {
    pub(crate) from: Ballot,
    pub(crate) to: NodeId,
    pub(crate) last: Option<LogAt>,
}

impl From<&TransferLeaderRequest<Types>> for TransferAsk {
    fn from(request: &TransferLeaderRequest<Types>) -> Self {
        Self {
            from: request.from_leader().into(),
            to: request.to_node_id().0,
            last: log_at(request.last_log_id()),
        }
    }
}

impl From<TransferAsk> for TransferLeaderRequest<Types> {
    fn from(ask: TransferAsk) -> Self {
        Self::new(ask.from.into(), Id(ask.to), ask.last.map(LogId::from))
    }
}

/// The answer to [`TransferAsk`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TransferAnswer {
    /// The callee will act on it.
    Taken,
    /// The callee has seen another vote since.
    VoteChanged { expected: Ballot, actual: Ballot },
    /// The callee's log is behind on disk.
    NotFlushed { expected: Option<LogAt>, actual: Option<LogAt> },
}

impl From<&TransferLeaderResponse<Types>> for TransferAnswer {
    fn from(response: &TransferLeaderResponse<Types>) -> Self {
        match response {
            Ok(()) => Self::Taken,
            Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                Self::VoteChanged { expected: expected.into(), actual: actual.into() }
            }
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => Self::NotFlushed {
                expected: log_at(expected.as_ref()),
                actual: log_at(actual.as_ref()),
            },
        }
    }
}

impl From<TransferAnswer> for TransferLeaderResponse<Types> {
    fn from(answer: TransferAnswer) -> Self {
        match answer {
            TransferAnswer::Taken => Ok(()),
            TransferAnswer::VoteChanged { expected, actual } => {
                Err(TransferLeaderError::VoteChanged {
                    expected: expected.into(),
                    actual: actual.into(),
                })
            }
            TransferAnswer::NotFlushed { expected, actual } => {
                Err(TransferLeaderError::LogNotFlushed {
                    expected: expected.map(LogId::from),
                    actual: actual.map(LogId::from),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_net::frame;

    fn node(raw: u128) -> NodeId {
        NodeId::from_raw(raw)
    }

    #[test]
    fn membership_format_is_pinned_and_round_trips() {
        let voters = vec![BTreeSet::from([node(1), node(2)]), BTreeSet::from([node(2)])];
        let nodes = BTreeSet::from([node(1), node(2), node(3)]);
        let members = Members { voters, nodes };
        assert_eq!(frame::encode(&members)[..], [1, 2, 2, 1, 2, 1, 2, 3, 1, 2, 3]);
        let membership = Membership::try_from(members.clone()).expect("voters are members");
        assert_eq!(Members::from(&membership), members);
    }

    #[test]
    fn voter_that_is_no_member_is_refused() {
        let members = Members { voters: vec![BTreeSet::from([node(9)])], nodes: BTreeSet::new() };
        assert!(Membership::try_from(members).is_err());
    }

    #[test]
    fn vote_messages_are_pinned_and_round_trip() {
        let vote = Ballot { term: 7, node: node(5), committed: false };
        let ask = VoteAsk { vote, last: Some(LogAt { term: 6, index: 300 }), transfer: true };
        assert_eq!(frame::encode(&ask)[..], [1, 7, 5, 0, 1, 6, 251, 44, 1, 1]);
        let request = VoteRequest::<Types>::from(ask.clone());
        assert_eq!(VoteAsk::from(&request), ask);
        let answer = VoteAnswer { vote, granted: true, last: None };
        assert_eq!(frame::encode(&answer)[..], [1, 7, 5, 0, 1, 0]);
        assert_eq!(VoteAnswer::from(&VoteResponse::<Types>::from(answer.clone())), answer);
    }

    #[test]
    fn transfer_round_trips() {
        let from = Ballot { term: 7, node: node(5), committed: true };
        let ask = TransferAsk { from, to: node(6), last: Some(LogAt { term: 7, index: 9 }) };
        assert_eq!(TransferAsk::from(&TransferLeaderRequest::<Types>::from(ask.clone())), ask);
    }
}
