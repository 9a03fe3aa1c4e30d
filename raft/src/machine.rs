//! Feeds committed records to the state machine of swarm-state and tells the node what came of it.
//!
//! The state itself is in memory; what lies on disk are the log and the snapshots.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{Stream, StreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use swarm_model::event::Event;
use swarm_model::meta::{Revision, Term};
use swarm_model::outcome::Done;
use swarm_state::codec;
use swarm_state::machine::Machine;

use crate::news::{News, Publisher};
use crate::pace::Pace;
use crate::snapshot::Snapshots;
use crate::types::{Answer, Entry, LogId, Snapshot, SnapshotMeta, StoredMembership, Types};

/// The replicated state on this node.
#[derive(Debug)]
pub(crate) struct StateMachine {
    machine: Machine,
    last: Option<LogId>,
    members: StoredMembership,
    publisher: Publisher,
    snapshots: Snapshots,
    pace: Pace,
}

impl StateMachine {
    /// An empty state; openraft restores it from the newest snapshot and the log.
    pub(crate) fn new(publisher: Publisher, snapshots: Snapshots, pace: Pace) -> Self {
        Self {
            pace,
            machine: Machine::new(),
            last: None,
            members: StoredMembership::default(),
            publisher,
            snapshots,
        }
    }

    /// Applies one record.
    fn apply_one(&mut self, entry: Entry, events: &mut Vec<Arc<Event>>) -> io::Result<Answer> {
        let at = entry.log_id;
        let revision = Revision(at.index);
        let answer = match entry.payload {
            EntryPayload::Blank => {
                self.machine.advance(revision);
                (revision, Ok(Done::Nothing))
            }
            EntryPayload::Normal(encoded) => {
                self.pace.applied(1, encoded.command().len() as u64);
                let command = codec::decode_command(encoded.command()).map_err(io::Error::other)?;
                let term = Term(at.leader_id.term);
                let (outcome, new) = self.machine.apply(revision, term, &command);
                events.extend(new.into_iter().map(Arc::new));
                (self.machine.applied_at(&command).unwrap_or(revision), outcome)
            }
            EntryPayload::Membership(membership) => {
                self.members = StoredMembership::new(Some(at), membership);
                self.machine.advance(revision);
                (revision, Ok(Done::Nothing))
            }
        };
        self.last = Some(at);
        Ok(answer)
    }

    /// The state as it is now, and where in the log it stands.
    pub(crate) fn export(&self) -> (Machine, Option<LogId>) {
        (self.machine.clone(), self.last)
    }

    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta { last_log_id: self.last, last_membership: self.members.clone() }
    }
}

/// Answers that wait until the view that contains them is published.
type Answers = Vec<(ApplyResponder<Types>, Answer)>;

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.last, self.members.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut events = Vec::new();
        let mut answers = Answers::new();
        let mut result = Ok(());
        while let Some(next) = entries.next().await {
            let applied = next.and_then(|(entry, responder)| {
                let answer = self.apply_one(entry, &mut events)?;
                answers.extend(responder.map(|responder| (responder, answer)));
                Ok(())
            });
            if applied.is_err() {
                result = applied;
                break;
            }
        }
        if let Some(last) = self.last {
            let upto = Revision(last.index);
            let view = Arc::new(self.machine.view().clone());
            self.publisher.publish(view, News::Applied { upto, events });
        }
        for (responder, answer) in answers {
            responder.send(answer);
        }
        result
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let (machine, meta) = (self.machine.clone(), self.meta());
        self.pace.begun();
        Builder { machine, meta, snapshots: self.snapshots.clone(), pace: self.pace.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, bytes: Bytes) -> io::Result<()> {
        let kept = bytes.clone();
        let work = self.snapshots.work();
        let machine = work.run(move || Machine::restore(&kept).map_err(io::Error::other)).await?;
        // Restored before it is stored: bytes that are no state must not replace the old snapshot.
        self.snapshots.save(meta.clone(), bytes).await?;
        self.machine = machine;
        self.last = meta.last_log_id;
        self.members = meta.last_membership.clone();
        let at = Revision(self.last.map_or(0, |last| last.index));
        self.machine.advance(at);
        let view = Arc::new(self.machine.view().clone());
        self.publisher.publish(view, News::Replaced { at });
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        self.snapshots.newest().await
    }
}

/// Makes a snapshot of the state as it was when the builder was made, while the state goes on.
#[derive(Debug)]
pub(crate) struct Builder {
    machine: Machine,
    meta: SnapshotMeta,
    snapshots: Snapshots,
    pace: Pace,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let machine = self.machine.clone();
        let work = self.snapshots.work();
        let bytes = work.run(move || machine.snapshot().map_err(io::Error::other)).await?;
        let bytes = Bytes::from(bytes);
        self.snapshots.save(self.meta.clone(), bytes.clone()).await?;
        self.pace.took(bytes.len() as u64);
        Ok(Snapshot { meta: self.meta.clone(), snapshot: bytes })
    }
}
