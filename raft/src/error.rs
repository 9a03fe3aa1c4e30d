//! How agreement fails, by what the caller can do.

use std::time::Duration;

use swarm_model::id::NodeId;

/// Why something was not agreed on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another node leads, or none does. Nothing changed: ask the leader, or wait for one.
    #[error("this node does not lead the cluster{}", led_by(.leader))]
    NotLeader {
        /// Who leads, if known.
        leader: Option<NodeId>,
    },
    /// The outcome is not known: the command may have been applied, or may be applied later.
    /// A retry must carry the same request id.
    #[error("the outcome is unknown: {reason}")]
    Unknown {
        /// What came in between.
        reason: String,
    },
    /// A majority of the voters does not answer. Nothing changed: retry later, or recover.
    #[error("no majority of the voters answered within {} ms", waited.as_millis())]
    NoQuorum {
        /// How long it was tried.
        waited: Duration,
    },
    /// Something did not come about in time. Nothing changed by it.
    #[error("{what} did not happen within {} ms", waited.as_millis())]
    Deadline {
        /// What was waited for.
        what: &'static str,
        /// How long.
        waited: Duration,
    },
    /// The command is over the limit of one log record. Nothing changed: split it.
    #[error("a command of {size} bytes is over the limit of {limit} bytes")]
    TooLarge {
        /// Its bytes.
        size: usize,
        /// The most bytes allowed.
        limit: usize,
    },
    /// Another change of the members is under way. Nothing changed: retry shortly.
    #[error("another change of the members is under way")]
    ChangeInProgress,
    /// The node must be a learner before it can vote. Nothing changed.
    #[error("node {node} is not a member of the consensus group: add it as a learner first")]
    NotMember {
        /// The node.
        node: NodeId,
    },
    /// The leader would have to feed too many replicas. Nothing changed.
    #[error("the cluster has {limit} followers already, which is the most it can have")]
    TooManyLearners {
        /// The most learners.
        limit: usize,
    },
    /// The node holds the state of a cluster already. Nothing changed.
    #[error("this node already belongs to a cluster")]
    AlreadyBootstrapped,
    /// The store does not open, or does not hold together: see its message for the way out.
    #[error("cannot start consensus from the data directory")]
    Start(#[source] std::io::Error),
    /// Consensus has stopped on this node, by request or because its disk failed. What was under
    /// way has an unknown outcome.
    #[error("consensus has stopped on this node: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}

fn led_by(leader: &Option<NodeId>) -> String {
    leader.map_or_else(|| "; no leader is known".into(), |leader| format!("; node {leader} does"))
}
