//! What a node knows of the consensus group: its own part, the leader, the members, the lag.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::{Instant, RaftMetrics, ServerState};
use swarm_model::id::NodeId;
use swarm_model::meta::{Revision, Term};

use crate::types::{self, LogId, Types};

/// A node's part in the consensus group. Not the role that a person gives to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Proposes for the group.
    Leader,
    /// Votes.
    Follower,
    /// Holds the state without a vote.
    Learner,
    /// Asks for votes.
    Candidate,
    /// Takes no part any more: shut down, or its disk failed.
    Stopped,
}

/// What a node knows of the consensus group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// This node's part.
    pub part: Part,
    /// The term it is in.
    pub term: Term,
    /// Who leads, if known.
    pub leader: Option<NodeId>,
    /// The newest record of its log.
    pub last_log: Revision,
    /// The newest record in its view.
    pub applied: Revision,
    /// The record its newest snapshot stands at.
    pub snapshot: Option<Revision>,
    /// Who votes; both sets together while a change is under way.
    pub voters: BTreeSet<NodeId>,
    /// Who follows without a vote.
    pub learners: BTreeSet<NodeId>,
    /// Whether a change of the voters is under way.
    pub joint: bool,
    /// On the leader: how many records each other member is behind, of those that it has heard of in
    /// this term.
    pub lag: BTreeMap<NodeId, u64>,
    /// On the leader: how long ago it last had proof that a majority follows it.
    pub quorum_acked: Option<Duration>,
    /// Why the part is [`Part::Stopped`], if by a fault.
    pub fault: Option<String>,
}

impl Status {
    /// Whether this node leads.
    pub fn is_leader(&self) -> bool {
        self.part == Part::Leader
    }

    /// Reads openraft's metrics.
    pub(crate) fn read(metrics: &RaftMetrics<Types>) -> Self {
        let membership = metrics.membership_config.membership();
        let fault = match &metrics.running_state {
            Ok(()) => None,
            Err(fatal) => Some(fatal.to_string()),
        };
        let last = metrics.last_log_index.unwrap_or_default();
        let replicas = metrics.replication.iter().flatten();
        let lag = replicas
            .filter(|(id, _)| **id != metrics.id)
            .filter_map(|(id, matched)| {
                Some((id.0, last - index(Some(matched.as_ref()?)).min(last)))
            })
            .collect();
        Self {
            part: if fault.is_some() { Part::Stopped } else { part(metrics.state) },
            term: Term(metrics.current_term),
            leader: metrics.current_leader.map(|id| id.0),
            last_log: Revision(last),
            applied: Revision(index(metrics.last_applied.as_ref())),
            snapshot: metrics.snapshot.map(|at| Revision(at.index)),
            voters: types::node_ids(membership.voter_ids()),
            learners: types::node_ids(membership.learner_ids()),
            joint: membership.get_joint_config().len() > 1,
            lag,
            quorum_acked: metrics.last_quorum_acked.as_ref().map(|at| at.elapsed()),
            fault,
        }
    }
}

fn part(state: ServerState) -> Part {
    match state {
        ServerState::Leader => Part::Leader,
        ServerState::Follower => Part::Follower,
        ServerState::Learner => Part::Learner,
        ServerState::Candidate => Part::Candidate,
        ServerState::Shutdown => Part::Stopped,
    }
}

fn index(at: Option<&LogId>) -> u64 {
    at.map_or(0, |at| at.index)
}
