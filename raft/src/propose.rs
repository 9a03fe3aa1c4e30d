//! Writing and reading through consensus: proposals, linearizable reads, waiting for a revision.

use std::time::Duration;

use openraft::LinearizerOption;
use openraft::errors::{
    ClientWriteError, ForwardReason, ForwardToLeader, LinearizableReadError, RaftError,
};
use swarm_model::command::Command;
use swarm_model::meta::Revision;
use swarm_model::outcome::Outcome;
use swarm_state::codec::{self, COMMAND_BYTES_MAX, CodecError};
use swarm_state::mistake::{Mistake, planted};
use tokio::time::{Instant, sleep, timeout_at};

use crate::consensus::Consensus;
use crate::error::Error;
use crate::types::{Encoded, Fatal, Types};

/// How long a proposal may take: a client hears of a lost majority before ten seconds are over.
pub const PROPOSE_DEADLINE: Duration = Duration::from_secs(8);
/// The first wait of a new leader that has not heard of its majority yet; it doubles.
const FIRST_RETRY: Duration = Duration::from_millis(2);
/// The longest such wait.
const MAX_RETRY: Duration = Duration::from_millis(64);

/// What became of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Where it stands in the cluster's history.
    pub revision: Revision,
    /// What the state machine answered.
    pub outcome: Outcome,
}

impl Consensus {
    /// Has `command` agreed on and applied here; its effect is in [`Consensus::view`] then.
    ///
    /// # Errors
    /// [`Error::NotLeader`], [`Error::NoQuorum`] and [`Error::TooLarge`]: nothing changed.
    /// [`Error::Unknown`] and [`Error::Stopped`]: it may have been, or may still be applied.
    ///
    /// # Cancel safety
    /// Dropping the future gives up on the answer; the command may still be applied.
    pub async fn propose(&self, command: &Command) -> Result<Applied, Error> {
        self.propose_within(command, PROPOSE_DEADLINE).await
    }

    /// As [`Consensus::propose`], in a time of the caller's choice.
    ///
    /// # Errors
    /// As there.
    pub async fn propose_within(
        &self,
        command: &Command,
        waited: Duration,
    ) -> Result<Applied, Error> {
        let bytes = codec::encode_command(command).map_err(|error| too_large(&error))?;
        let encoded = Encoded::new(&bytes);
        let deadline = Instant::now() + waited;
        let mut retry = FIRST_RETRY;
        loop {
            let write = self.inner.raft.client_write(encoded.clone());
            let result = match timeout_at(deadline, write).await {
                Ok(result) => result,
                Err(_elapsed) => return Err(no_answer(waited)),
            };
            let error = match result {
                Ok(done) => {
                    let (revision, outcome) = done.data;
                    return Ok(Applied { revision, outcome });
                }
                Err(RaftError::Fatal(fatal)) => return Err(stopped(&fatal)),
                Err(RaftError::APIError(error)) => error,
            };
            match error {
                ClientWriteError::ForwardToLeader(forward) => {
                    self.wait_for_majority(&forward, deadline, waited, &mut retry).await?;
                }
                ClientWriteError::LogEntryDiscarded(_) => {
                    let reason = "the leader changed before a majority had the command".into();
                    return Err(Error::Unknown { reason });
                }
                ClientWriteError::ChangeMembershipError(_)
                | ClientWriteError::PreconditionFailed(_) => {
                    return Err(Error::Unknown { reason: error.to_string() });
                }
            }
        }
    }

    /// The revision a read must see to be linearizable; it is applied here when this returns.
    ///
    /// On the leader only. Costs one round of heartbeats, which concurrent reads share; no clock
    /// is trusted.
    ///
    /// # Errors
    /// [`Error::NotLeader`], [`Error::NoQuorum`], [`Error::Deadline`], [`Error::Stopped`].
    pub async fn read_index(&self, waited: Duration) -> Result<Revision, Error> {
        if planted(Mistake::ReadWithoutQuorum) {
            return Ok(self.view().revision);
        }
        let deadline = Instant::now() + waited;
        let option = LinearizerOption::new(Some(Duration::ZERO), true).with_wait_timeout(waited);
        let no_quorum = Error::NoQuorum { waited };
        let read = self.inner.raft.get_read_linearizer(option);
        let Ok(read) = timeout_at(deadline, read).await else { return Err(no_quorum) };
        let linearizer = read.map_err(|error| match error {
            RaftError::Fatal(fatal) => stopped(&fatal),
            RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)) => {
                not_leader(&forward)
            }
            RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => no_quorum,
        })?;
        let revision = Revision(linearizer.read_log_id().log_id().index);
        self.wait_applied(revision, deadline.saturating_duration_since(Instant::now())).await?;
        Ok(revision)
    }

    /// Waits until everything up to `at_least` is in the view here.
    ///
    /// # Errors
    /// [`Error::Deadline`], or [`Error::Stopped`] when nothing will be applied any more.
    pub async fn wait_applied(&self, at_least: Revision, waited: Duration) -> Result<(), Error> {
        let mut views = self.views();
        let applied = views.wait_for(|view| view.revision >= at_least);
        match tokio::time::timeout(waited, applied).await {
            Ok(Ok(_view)) => Ok(()),
            Ok(Err(_closed)) => {
                Err(Error::Stopped { reason: "nothing is applied any more".into() })
            }
            Err(_elapsed) => Err(Error::Deadline { what: "applying the revision", waited }),
        }
    }

    /// A leader that is not sure of its majority (any more, or yet) refuses to write: wait a little.
    async fn wait_for_majority(
        &self,
        forward: &ForwardToLeader<Types>,
        deadline: Instant,
        waited: Duration,
        retry: &mut Duration,
    ) -> Result<(), Error> {
        match forward.reason {
            ForwardReason::NotLeader | ForwardReason::LeadershipTransfer => {
                Err(not_leader(forward))
            }
            ForwardReason::LeaseExpired if Instant::now() + *retry < deadline => {
                sleep(*retry).await;
                *retry = (2 * *retry).min(MAX_RETRY);
                Ok(())
            }
            ForwardReason::LeaseExpired => Err(Error::NoQuorum { waited }),
        }
    }
}

pub(crate) fn not_leader(forward: &ForwardToLeader<Types>) -> Error {
    Error::NotLeader { leader: forward.leader_id.map(|id| id.0) }
}

pub(crate) fn stopped(fatal: &Fatal) -> Error {
    Error::Stopped { reason: fatal.to_string() }
}

fn no_answer(waited: Duration) -> Error {
    Error::Unknown { reason: format!("no majority answered within {} ms", waited.as_millis()) }
}

fn too_large(error: &CodecError) -> Error {
    let size = match error {
        CodecError::TooLarge { bytes, .. } => *bytes,
        // The codec stops at the limit.
        CodecError::Unwritable(_)
        | CodecError::UnknownFormat { .. }
        | CodecError::Empty
        | CodecError::Trailing(_)
        | CodecError::Malformed(_) => COMMAND_BYTES_MAX + 1,
    };
    Error::TooLarge { size, limit: COMMAND_BYTES_MAX }
}
