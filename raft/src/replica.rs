//! The replica of a node at rest: reads all of it, and founds a new group of one voter on it.
//!
//! Nobody else may use the tables meanwhile. What is lost by it, and whether that is right, is for
//! people to say; see docs/design/recovery.md.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::Bytes;
use swarm_model::command::Command;
use swarm_model::event::Event;
use swarm_model::id::NodeId;
use swarm_model::meta::{Revision, Term};
use swarm_model::units::Timestamp;
use swarm_model::view::View;
use swarm_net::frame;
use swarm_state::codec;
use swarm_state::machine::Machine;
use swarm_state::store::{Position, Record};

use crate::options::Tables;
use crate::payload;
use crate::snapshot;
use crate::types::{self, Id, Membership, Payload, SnapshotMeta, StoredMembership};
use crate::wire::{Ballot, LogAt, SnapshotHead};

/// How far a new group begins beyond all that its founder knows, in terms and in log indexes: nothing
/// that the lost members agreed on without it ever has the number of something newer.
pub const LEAP: u64 = 1 << 20;
/// Bytes of log records read at once.
const CHUNK: usize = 4 << 20;

/// Everything that the replica holds, what is not known to be committed included.
#[derive(Debug, Clone)]
pub struct Replica {
    machine: Machine,
    snapshot: Revision,
    last: Position,
    committed: Revision,
    voters: BTreeSet<NodeId>,
    voted_in: u64,
    newest: Option<Timestamp>,
}

/// Hears of a command of the log: where it stands, and what it changed.
pub type Tell<'a> = dyn FnMut(Revision, &Command, &[Event]) + 'a;

impl Replica {
    /// Reads the whole replica. Blocks on the disk.
    ///
    /// # Errors
    /// When it does not read back, or holds nothing.
    pub fn read(tables: &Tables) -> io::Result<Self> {
        Self::read_along(tables, &mut |_at, _command, _events| {})
    }

    /// The same, and tells of every command of the log behind the snapshot where it stands and what it
    /// changed.
    ///
    /// # Errors
    /// See [`Replica::read`].
    pub fn read_along(tables: &Tables, tell: &mut Tell<'_>) -> io::Result<Self> {
        let mut replica = Self {
            machine: Machine::new(),
            snapshot: Revision(0),
            last: Position { index: 0, term: 0 },
            committed: Revision(0),
            voters: BTreeSet::new(),
            voted_in: 0,
            newest: None,
        };
        let mut next = 0;
        if let Some(reader) = tables.snapshots.latest()? {
            let head: SnapshotHead = decode(reader.meta())?;
            let meta = SnapshotMeta::try_from(head).map_err(io::Error::other)?;
            replica.machine = Machine::restore(&reader.read_all()?).map_err(io::Error::other)?;
            replica.see(meta.last_membership.membership());
            if let Some(last) = meta.last_log_id {
                replica.last = Position { index: last.index, term: last.leader_id.term };
                (replica.snapshot, replica.committed) =
                    (Revision(last.index), Revision(last.index));
                next = after(last.index)?;
            }
        }
        loop {
            let records = tables.log.read(next..u64::MAX, CHUNK)?;
            let Some(newest) = records.last() else { break };
            next = after(newest.index)?;
            for record in records {
                replica.apply(record, tell)?;
            }
        }
        if replica.voters.is_empty() {
            return Err(io::Error::other("it holds no cluster's state yet"));
        }
        if let Some(vote) = tables.vote.read()? {
            replica.voted_in = decode::<Ballot>(&vote)?.term;
        }
        if let Some(bytes) = tables.meta.committed()? {
            let noted = Revision(decode::<LogAt>(&bytes)?.index);
            replica.committed = replica.committed.max(noted).min(Revision(replica.last.index));
        }
        Ok(replica)
    }

    fn apply(&mut self, record: Record, tell: &mut Tell<'_>) -> io::Result<()> {
        let (at, term) = (Revision(record.index), record.term);
        self.last = Position { index: record.index, term };
        match payload::decode(record.payload).map_err(io::Error::other)? {
            Payload::Blank => self.machine.advance(at),
            Payload::Membership(membership) => {
                self.see(&membership);
                self.machine.advance(at);
            }
            Payload::Normal(encoded) => {
                let command = codec::decode_command(encoded.command()).map_err(io::Error::other)?;
                self.newest = self.newest.max(Some(command.at));
                let (_outcome, events) = self.machine.apply(at, Term(term), &command);
                tell(at, &command, &events);
            }
        }
        Ok(())
    }

    fn see(&mut self, membership: &Membership) {
        self.voters = types::node_ids(membership.voter_ids());
    }

    /// The state that a recovery keeps.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The same, to look at.
    pub fn view(&self) -> &View {
        self.machine.view()
    }

    /// Where its snapshot stands: what is newer was read from the log.
    pub fn snapshot(&self) -> Revision {
        self.snapshot
    }

    /// The newest log record.
    pub fn last(&self) -> Position {
        self.last
    }

    /// The newest record known here to be committed; the ones after it may be or not.
    pub fn committed(&self) -> Revision {
        self.committed
    }

    /// Who votes.
    pub fn voters(&self) -> &BTreeSet<NodeId> {
        &self.voters
    }

    /// When the newest command in the log was made; `None` when all of it is in the snapshot.
    pub fn newest(&self) -> Option<Timestamp> {
        self.newest
    }

    /// Where a group that is founded on this replica begins.
    pub fn beyond(&self) -> Position {
        Position {
            index: self.last.index.saturating_add(LEAP),
            term: self.last.term.max(self.voted_in).saturating_add(LEAP),
        }
    }
}

/// The place behind the record at `index`.
fn after(index: u64) -> io::Result<u64> {
    let refused = || io::Error::other(format!("no cluster has as many records as {index}"));
    index.checked_add(1).ok_or_else(refused)
}

/// Where a group begins that is founded on a state which stood at `last`.
pub fn beyond(last: Position) -> Position {
    Position { index: last.index.saturating_add(LEAP), term: last.term.saturating_add(LEAP) }
}

/// Makes `founder` the only voter of a group whose state at `at` is `machine`, and forgets the group
/// before. Blocks on the disk.
///
/// The new snapshot is the one step that counts: before it the replica is what it was (but for a vote
/// for itself in a term that nobody else will reach), from it on it is the new group's. So it may be
/// repeated after a crash, and what is left of the old log is cleared by the next start.
///
/// # Errors
/// From the disk: the replica is the old group's or the new one's, whole in both cases.
pub fn found(
    tables: &mut Tables,
    machine: &Machine,
    at: Position,
    founder: NodeId,
) -> io::Result<()> {
    let state = machine.snapshot().map_err(io::Error::other)?;
    let id = types::log_id(at.term, at.index);
    let (voters, nodes) = (BTreeSet::from([Id(founder)]), BTreeMap::from([(Id(founder), ())]));
    let membership = Membership::new(vec![voters], nodes).map_err(io::Error::other)?;
    let meta = SnapshotMeta {
        last_log_id: Some(id),
        last_membership: StoredMembership::new(Some(id), membership),
    };
    let vote = Ballot { term: at.term, node: founder, committed: false };
    tables.vote.save(&frame::encode(&vote))?;
    snapshot::write(&tables.snapshots, &meta, &Bytes::from(state))?;
    tables.log.purge_upto(at)?;
    tables.log.save_high_water()?;
    Ok(())
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    frame::decode(bytes).map_err(io::Error::other)
}
