//! Changes of the group: its first voter, learners, voters, who leads.
//!
//! Who should vote is decided in `membership`, when to change it by the leader's loop.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::errors::{ChangeMembershipError, ClientWriteError, InitializeError, RaftError};
use swarm_model::id::NodeId;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::consensus::Consensus;
use crate::error::Error;
use crate::propose::{not_leader, stopped};
use crate::status::Status;
use crate::types::{Id, LogId, Types};

/// The most followers without a vote: the leader feeds each of them.
pub const MAX_LEARNERS: usize = 32;
/// How long a change of the members may take.
const CHANGE_DEADLINE: Duration = Duration::from_secs(10);
/// The wait for another change to end.
const CHANGE_RETRY: Duration = Duration::from_millis(20);

impl Consensus {
    /// Makes this node the only voter of a new group, and waits until it leads.
    ///
    /// # Errors
    /// [`Error::AlreadyBootstrapped`] if it is in a group already; nothing changed.
    pub async fn bootstrap(&self) -> Result<(), Error> {
        let me = BTreeMap::from([(Id(self.node_id()), ())]);
        self.inner.raft.initialize(me).await.map_err(|error| match error {
            RaftError::APIError(InitializeError::NotAllowed(_)) => Error::AlreadyBootstrapped,
            RaftError::APIError(InitializeError::NotInMembers(_)) => {
                Error::NotMember { node: self.node_id() }
            }
            RaftError::Fatal(fatal) => stopped(&fatal),
        })?;
        self.wait_status("leading the new group", CHANGE_DEADLINE, Status::is_leader).await?;
        // Its first record must be in before anything else can be changed.
        self.read_index(CHANGE_DEADLINE).await?;
        Ok(())
    }

    /// Adds a follower without a vote; it is fed from now on. On the leader; again is no error.
    ///
    /// # Errors
    /// [`Error::TooManyLearners`], [`Error::NotLeader`], [`Error::ChangeInProgress`]: nothing
    /// changed. [`Error::Unknown`]: it may have been added.
    pub async fn add_learner(&self, node: NodeId, addr: Option<SocketAddr>) -> Result<(), Error> {
        if let Some(addr) = addr {
            self.inner.transport.set_address(node, addr);
        }
        let status = self.status_now();
        if status.voters.contains(&node) || status.learners.contains(&node) {
            return Ok(());
        }
        if status.learners.len() >= MAX_LEARNERS {
            return Err(Error::TooManyLearners { limit: MAX_LEARNERS });
        }
        self.change(ChangeMembers::AddNodes(BTreeMap::from([(Id(node), ())]))).await.map(drop)
    }

    /// Makes exactly `voters` vote, through joint consensus; who loses the vote stays a follower.
    ///
    /// A leader that is to lose its vote hands over first and answers [`Error::NotLeader`]: the
    /// new leader makes the change.
    ///
    /// # Errors
    /// [`Error::NotMember`] for a voter that is no follower yet, [`Error::NotLeader`],
    /// [`Error::ChangeInProgress`]: nothing changed. [`Error::Unknown`]: the change may go on.
    pub async fn set_voters(&self, voters: BTreeSet<NodeId>) -> Result<(), Error> {
        let status = self.status_now();
        if status.voters == voters && !status.joint {
            return Ok(());
        }
        if status.is_leader() && !voters.contains(&self.node_id()) {
            let successor = voters.intersection(&status.voters).copied().next();
            return Err(self.step_aside(successor).await);
        }
        let voters = voters.into_iter().map(Id).collect();
        self.change(ChangeMembers::ReplaceAllVoters(voters)).await.map(drop)
    }

    /// Takes `node` out of the group. A leader that removes itself hands over first and answers
    /// [`Error::NotLeader`]: the new leader removes it.
    ///
    /// # Errors
    /// As of [`Consensus::set_voters`].
    pub async fn remove(&self, node: NodeId) -> Result<(), Error> {
        let mut status = self.status_now();
        if status.voters.remove(&node) {
            if status.is_leader() && node == self.node_id() {
                return Err(self.step_aside(None).await);
            }
            self.set_voters(status.voters).await?;
        } else if !status.learners.contains(&node) {
            return Ok(());
        }
        self.change(ChangeMembers::RemoveNodes(BTreeSet::from([Id(node)]))).await.map(drop)
    }

    /// Hands the lead to `to`, or to the voter whose log is the newest, and waits until it is gone.
    ///
    /// # Errors
    /// [`Error::NotLeader`]; [`Error::NotMember`] if there is no such voter; [`Error::Deadline`]
    /// if nobody took over in time: then whoever wins the next election leads.
    pub async fn transfer_leadership(&self, to: Option<NodeId>) -> Result<(), Error> {
        let status = self.status_now();
        if !status.is_leader() {
            return Err(Error::NotLeader { leader: status.leader });
        }
        let me = self.node_id();
        let heir = match to {
            Some(to) if to != me && status.voters.contains(&to) => Some(to),
            Some(_) => None,
            None => best_heir(&status, me),
        };
        let heir = heir.ok_or(Error::NotMember { node: to.unwrap_or(me) })?;
        let asked = self.inner.raft.trigger().transfer_leader(Id(heir)).await;
        asked.map_err(|fatal| stopped(&fatal))?;
        let wait = 2 * self.inner.timing.election_max;
        self.wait_status("handing over the lead", wait, |status| !status.is_leader()).await
    }

    /// Says that the leader seems to be gone: this node campaigns as soon as Raft allows it. A wrong
    /// hint costs nothing, since a majority that still hears the leader refuses.
    pub fn campaign_hint(&self) {
        self.inner.hint.notify_one();
    }

    /// Waits until the status is as wanted.
    ///
    /// # Errors
    /// [`Error::Deadline`], or [`Error::Stopped`].
    pub async fn wait_status(
        &self,
        what: &'static str,
        waited: Duration,
        wanted: impl FnMut(&Status) -> bool,
    ) -> Result<(), Error> {
        let mut status = self.status();
        let mut wanted = wanted;
        match timeout(waited, status.wait_for(|status| wanted(status))).await {
            Ok(Ok(_status)) => Ok(()),
            Ok(Err(_closed)) => Err(Error::Stopped { reason: "it was shut down".into() }),
            Err(_elapsed) => Err(Error::Deadline { what, waited }),
        }
    }

    /// Hands over and tells who leads then.
    async fn step_aside(&self, successor: Option<NodeId>) -> Error {
        match self.transfer_leadership(successor).await {
            Ok(()) => Error::NotLeader { leader: self.status_now().leader },
            Err(error) => error,
        }
    }

    /// Makes one change, after the one that is under way, if any; gives the record that agreed on it.
    pub(crate) async fn change(&self, change: ChangeMembers<Id, ()>) -> Result<LogId, Error> {
        let deadline = Instant::now() + CHANGE_DEADLINE;
        loop {
            let changing = self.inner.raft.change_membership(change.clone(), true);
            let error = match timeout_at(deadline, changing).await {
                Ok(Ok(done)) => return Ok(done.log_id),
                Ok(Err(RaftError::Fatal(fatal))) => return Err(stopped(&fatal)),
                Ok(Err(RaftError::APIError(error))) => change_error(error),
                Err(_elapsed) => {
                    let reason = format!("no majority within {} ms", CHANGE_DEADLINE.as_millis());
                    return Err(Error::Unknown { reason });
                }
            };
            match error {
                Error::ChangeInProgress if Instant::now() + CHANGE_RETRY < deadline => {
                    sleep(CHANGE_RETRY).await;
                }
                error => return Err(error),
            }
        }
    }
}

/// The other voter that is the least behind.
fn best_heir(status: &Status, me: NodeId) -> Option<NodeId> {
    let others = status.voters.iter().copied().filter(|node| *node != me);
    others.min_by_key(|node| (status.lag.get(node).copied().unwrap_or(u64::MAX), *node))
}

fn change_error(error: ClientWriteError<Types>) -> Error {
    match error {
        ClientWriteError::ForwardToLeader(forward) => not_leader(&forward),
        ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_)) => {
            Error::ChangeInProgress
        }
        ClientWriteError::ChangeMembershipError(ChangeMembershipError::LearnerNotFound(
            missing,
        )) => Error::NotMember { node: missing.node_id.0 },
        ClientWriteError::LogEntryDiscarded(_)
        | ClientWriteError::ChangeMembershipError(_)
        | ClientWriteError::PreconditionFailed(_) => Error::Unknown { reason: error.to_string() },
    }
}
