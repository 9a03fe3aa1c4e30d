//! Taking a member in anew whose replica is lost: the leader's end, and the member's.
//!
//! The argument why nobody's vote counts twice and nothing agreed on is lost is in
//! docs/design/recovery.md. When to do it is the node's business.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::raft::AppendEntriesResponse;
use serde::{Deserialize, Serialize};
use swarm_model::id::NodeId;
use swarm_model::meta::{Revision, Term};
use tokio::time::timeout;

use crate::consensus::Consensus;
use crate::error::Error;
use crate::types::{AppendRequest, LogId, Vote, log_id};
use crate::wire::Ballot;

/// How long the others may take to show that they are a majority without the lost member.
const MAJORITY: Duration = Duration::from_secs(2);
/// How often a member looks whether it was fed far enough, when nothing tells it.
const LOOK: Duration = Duration::from_millis(200);

/// On what a member comes back: a record that a majority agreed on without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readmission {
    /// The term of the leader that took it out, and of the record.
    pub term: Term,
    /// The record. A member that lacks it votes for nobody.
    pub record: Revision,
}

impl Consensus {
    /// Takes `node` out of the group for good, and proves it: when this returns, a record of the
    /// term it names is durable on a majority of voters that `node` is none of.
    ///
    /// A member that lost its replica may come back under that term's vote once it has that record:
    /// it then has all that the lost replica ever acknowledged. On the leader; again is no error.
    /// `node` must take no part in the group meanwhile (see [`crate::Gate`]).
    ///
    /// # Errors
    /// [`Error::NoQuorum`] when the others are no majority without it: nothing changed.
    /// [`Error::NotLeader`], [`Error::ChangeInProgress`], [`Error::Unknown`]: ask again.
    pub async fn expel(&self, node: NodeId) -> Result<Readmission, Error> {
        // First of all: a change that can never be agreed on would be in everybody's way.
        self.read_index(MAJORITY).await?;
        let term = self.leading()?;
        self.remove(node).await?;
        // A removal found done may rest on what the lost replica had acknowledged, so a record is
        // agreed on after it: the same members once more.
        let record = self.change(ChangeMembers::AddVoterIds(BTreeSet::new())).await?;
        let status = self.status_now();
        let still_in = status.voters.contains(&node) || status.learners.contains(&node);
        if self.leading()? != term || record.leader_id.term != term.0 || still_in {
            return Err(Error::Unknown { reason: "the group changed meanwhile".into() });
        }
        Ok(Readmission { term, record: Revision(record.index) })
    }

    fn leading(&self) -> Result<Term, Error> {
        let status = self.status_now();
        if status.is_leader() {
            return Ok(status.term);
        }
        Err(Error::NotLeader { leader: status.leader })
    }

    /// Makes the vote that `leader` has in `term` this node's own, durably: it will vote for nobody
    /// else in that term, and in none before it. For an empty replica that was expelled, before it
    /// takes part again.
    ///
    /// # Errors
    /// [`Error::Unknown`] when this node has promised more already; [`Error::Stopped`].
    pub async fn adopt_vote(&self, leader: NodeId, term: Term) -> Result<(), Error> {
        let vote = Ballot { term: term.0, node: leader, committed: true }.into();
        if self.would_accept(vote, None).await? {
            return Ok(());
        }
        Err(Error::Unknown { reason: "this node has promised its vote already".into() })
    }

    /// Lets this node be fed, and take part in everything once it has the record of `grounds`,
    /// durably. Until then it votes for nobody: a replica that lacks what the lost one had
    /// acknowledged must not help anyone to lead who lacks it, too.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub async fn catch_up(&self, grounds: Readmission) -> Result<(), Error> {
        self.gate().feed();
        let record = log_id(grounds.term.0, grounds.record.0);
        let mut status = self.status();
        loop {
            let last = status.borrow_and_update().last_log;
            let vote = self.inner.raft.with_raft_state(|state| *state.vote_ref()).await;
            let vote = vote.map_err(|error| Error::Stopped { reason: error.to_string() })?;
            if last >= grounds.record
                && vote.committed
                && self.would_accept(vote, Some(record)).await?
            {
                return Ok(());
            }
            if let Ok(Err(_closed)) = timeout(LOOK, status.changed()).await {
                return Err(Error::Stopped { reason: "it was shut down".into() });
            }
        }
    }

    /// What the heartbeat of the leader of `vote` would bring, whose newest record is `last`: whether
    /// this node follows it and has that record. When it does, both are durable.
    async fn would_accept(&self, vote: Vote, last: Option<LogId>) -> Result<bool, Error> {
        let heartbeat =
            AppendRequest { vote, prev_log_id: last, entries: Vec::new(), leader_commit: None };
        let answer = self.inner.raft.append_entries(heartbeat).await;
        match answer.map_err(|error| Error::Stopped { reason: error.to_string() })? {
            AppendEntriesResponse::Success | AppendEntriesResponse::PartialSuccess(_) => Ok(true),
            AppendEntriesResponse::Conflict | AppendEntriesResponse::HigherVote(_) => Ok(false),
        }
    }
}
