//! What every handler works with: the node, and the ways to change and to read it.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use swarm_model::command::Op;
use swarm_model::id::{ID_LEN, NodeId, RequestId};
use swarm_model::meta::Revision;
use swarm_model::view::View;
use swarm_net::task::TaskGroup;

use super::backend::{Applied, Backend, PATIENCE, PROPOSE_DEADLINE, ProposeError, ReadError};
use super::disk_writes::DiskWrites;
use super::errors::ApiError;
use super::planning::Planning;
use super::request::Write;

/// How long a read waits for a majority before it answers from the local replica.
const READ_PATIENCE: Duration = Duration::from_millis(1800);
/// The same, once the leader has been silent for [`LOST_AFTER`]: there is hardly any hope left.
const READ_PATIENCE_LOST: Duration = Duration::from_millis(150);
/// From this silence on, there is no quorum rather than an election.
const LOST_AFTER: Duration = Duration::from_secs(5);
/// A leader that was heard as recently as this may simply be in the middle of being replaced, which
/// takes up to a second on an idle machine and longer on a busy one.
pub(super) const ELECTING: Duration = Duration::from_secs(3);
/// What a person waits in all for a change when there is no quorum: the read before it counts, too.
const WRITE_BUDGET: Duration = Duration::from_secs(9);
/// The least that a change is tried, however long the leader has been silent.
const WRITE_LEAST: Duration = Duration::from_secs(2);
/// Pause before a barrier that failed early is tried again.
const BARRIER_PAUSE: Duration = Duration::from_millis(25);
/// How long an answer waits for the local replica to show what was just changed.
const CATCH_UP: Duration = Duration::from_secs(2);

/// Conversations with tasks that one node's API carries at a time.
const SESSIONS_MAX: usize = 512;

/// What every handler works with. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Api {
    /// The node.
    pub(super) backend: Arc<dyn Backend>,
    /// Cancelled when the daemon ends: streams end, too.
    pub(super) ending: CancellationToken,
    /// How much this daemon writes.
    pub(super) disk_writes: DiskWrites,
    /// Owns what goes on after an answer.
    pub(super) tasks: TaskGroup,
    /// Conversations that may go on at a time.
    pub(super) sessions: Arc<Semaphore>,
    /// Whose turn it is to plan.
    pub(super) planning: Planning,
    /// Whose turn it is among the tasks of a service.
    pub(super) turn: Arc<AtomicUsize>,
}

impl Api {
    pub(super) fn new(backend: Arc<dyn Backend>, tasks: TaskGroup) -> Self {
        let (ending, sessions) = (tasks.token(), Arc::new(Semaphore::new(SESSIONS_MAX)));
        let (disk_writes, planning, turn) = Default::default();
        Self { backend, ending, disk_writes, tasks, sessions, planning, turn }
    }

    /// Proposes a change on behalf of `write`.
    pub(super) async fn propose(&self, write: &Write, op: Op) -> Result<Applied, ApiError> {
        self.try_propose(write, write.request, op).await.map_err(|error| self.refused(error))
    }

    /// The same under another request id, with the error as it is.
    pub(super) async fn try_propose(
        &self,
        write: &Write,
        request: RequestId,
        op: Op,
    ) -> Result<Applied, ProposeError> {
        let silence = self.backend.consensus().leader_silent.unwrap_or_default();
        let patience = patience(silence);
        let (guard, caller) = (write.if_revision, write.caller.clone());
        let proposal = self.backend.propose_if(guard, caller, request, op, patience);
        match timeout_at(write.deadline, proposal).await {
            Ok(result) => result,
            Err(_elapsed) => {
                Err(ProposeError::NoQuorum { waited: PROPOSE_DEADLINE, may_apply: true })
            }
        }
    }

    /// The answer to a change that was not made.
    pub(super) fn refused(&self, error: ProposeError) -> ApiError {
        ApiError::of_proposal(error, || self.standing())
    }

    /// Who of the voters is heard, in words.
    pub(super) fn standing(&self) -> String {
        let voters = self.backend.consensus().voters;
        let heard = self.backend.heard();
        let view = self.backend.view();
        let name = |id: &NodeId| match view.nodes.get(id) {
            Some(node) => format!("{} ({})", node.description.hostname, id.short()),
            None => id.short(),
        };
        let silent: Vec<_> = voters.difference(&heard).map(name).collect();
        let count = voters.len() - silent.len();
        if silent.is_empty() {
            return format!("all {count} voters are heard, but none of them leads");
        }
        format!("{count} of {} voters heard, silent: {}", voters.len(), silent.join(", "))
    }

    /// Waits until the local view has everything committed so far, for as long as makes sense: what an
    /// election mends within a moment is not called a lost quorum.
    pub(super) async fn barrier(&self) -> Result<Revision, ReadError> {
        let silence = || self.backend.consensus().leader_silent;
        let lost = silence().is_some_and(|silence| silence > LOST_AFTER);
        let patience = if lost { READ_PATIENCE_LOST } else { READ_PATIENCE };
        match self.barrier_within(patience).await {
            Err(ReadError::NoQuorum) if silence().is_some_and(|silence| silence < ELECTING) => {
                self.barrier_within(READ_PATIENCE).await
            }
            settled => settled,
        }
    }

    async fn barrier_within(&self, patience: Duration) -> Result<Revision, ReadError> {
        let end = Instant::now() + patience;
        loop {
            let barrier = timeout_at(end, self.backend.read_barrier());
            match barrier.await.unwrap_or(Err(ReadError::NoQuorum)) {
                // The node may give up earlier than there is reason to.
                Err(ReadError::NoQuorum) if Instant::now() < end => sleep(BARRIER_PAUSE).await,
                settled => return settled,
            }
        }
    }

    /// Finds what a change is about. A full id that is known here is taken as it is; for anything else
    /// the view is brought up to date first, so that a name just given or taken away counts.
    pub(super) async fn settle<T>(
        &self,
        reference: &str,
        find: impl Fn(&View) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        if reference.len() == ID_LEN
            && let Ok(found) = find(&self.backend.view())
        {
            return Ok(found);
        }
        // Without a majority the change itself will say so.
        let fresh = self.barrier().await;
        find(&self.backend.view()).map_err(|error| match fresh {
            Ok(_revision) => error,
            Err(_stale) => {
                let found = error.message;
                ApiError::no_quorum(format!("no quorum: {}; here, {found}", self.standing()))
            }
        })
    }

    /// The local view once it shows `revision`; an older one when that takes too long.
    pub(super) async fn view_at(&self, revision: Revision) -> Arc<View> {
        let mut views = self.backend.views();
        // Late or ending: the newest view there is does as well.
        let _late = timeout(CATCH_UP, views.wait_for(|view| view.revision >= revision)).await;
        self.backend.view()
    }
}

/// How long a change is tried when the leader has been silent for `silence`: whoever asks has waited
/// through that already, with the reads that came before.
fn patience(silence: Duration) -> Duration {
    WRITE_BUDGET.saturating_sub(silence).clamp(WRITE_LEAST, PATIENCE)
}

/// When a write that starts now has to be answered.
pub(super) fn write_deadline() -> Instant {
    Instant::now() + PROPOSE_DEADLINE
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A read that finds no quorum waits for one, longer while an election may be going on.
    #[test]
    fn a_read_and_the_change_after_it_take_less_than_ten_seconds_together() {
        for millis in (0..20_000).step_by(100) {
            let mut silence = Duration::from_millis(millis);
            let began = silence;
            silence += if silence > LOST_AFTER { READ_PATIENCE_LOST } else { READ_PATIENCE };
            if silence < ELECTING {
                silence += READ_PATIENCE;
            }
            let all = silence - began + patience(silence);
            assert!(all <= Duration::from_millis(9_200), "{began:?}: {all:?}");
        }
        assert_eq!(patience(Duration::ZERO), PATIENCE);
        assert_eq!(patience(Duration::from_secs(60)), WRITE_LEAST);
    }
}
