//! Whether vote, log and snapshot of a data directory belong together: one of them may be an old
//! copy, sound in itself.
//!
//! What the tables can tell without knowing what is in them, they tell themselves.

use std::path::PathBuf;

use swarm_state::store::{Error, LogTable, SnapshotTable, Table, VoteTable};

use crate::types::{SnapshotMeta, Vote};

/// What is needed to say which file went back.
#[derive(Debug)]
pub(crate) struct Held {
    votes: PathBuf,
    snapshots: PathBuf,
    /// The term of the newest record, also of one that was purged.
    log_term: u64,
    /// The newest record that was purged.
    purged: Option<u64>,
}

impl Held {
    /// Looks at the tables before they are given away.
    pub(crate) fn look(log: &LogTable, votes: &VoteTable, snapshots: &SnapshotTable) -> Self {
        let newest = log.last().or(log.purged());
        Self {
            votes: votes.dir().to_owned(),
            snapshots: snapshots.dir().to_owned(),
            log_term: newest.map_or(0, |newest| newest.term),
            purged: log.purged().map(|purged| purged.index),
        }
    }

    /// A node votes in a term before it takes records of that term, and takes a snapshot before it
    /// purges what is in it.
    ///
    /// # Errors
    /// [`Error::RolledBack`] names what is too old.
    pub(crate) fn check(
        &self,
        vote: Option<Vote>,
        snapshot: Option<&SnapshotMeta>,
    ) -> Result<(), Error> {
        let term = vote.map_or(0, |vote| vote.leader_id.term);
        if term < self.log_term {
            return Err(Error::RolledBack {
                table: Table::Votes,
                file: self.votes.clone(),
                expected: format!("a vote in term {}", self.log_term),
                found: format!("one in term {term}"),
            });
        }
        let covered = snapshot.and_then(|snapshot| snapshot.last_log_id).map(|last| last.index);
        if covered < self.purged {
            let at = |index: Option<u64>| index.map_or("none".into(), |index| index.to_string());
            return Err(Error::RolledBack {
                table: Table::Snapshots,
                file: self.snapshots.clone(),
                expected: format!("the state at record {}", at(self.purged)),
                found: format!("the state at record {}", at(covered)),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types;

    fn held(log_term: u64, purged: Option<u64>) -> Held {
        Held { votes: "kv".into(), snapshots: "snapshots".into(), log_term, purged }
    }

    fn vote(term: u64) -> Option<Vote> {
        Some(Vote::new(term, types::Id(swarm_model::id::NodeId::from_raw(1))))
    }

    fn meta(index: u64) -> SnapshotMeta {
        SnapshotMeta { last_log_id: Some(types::log_id(1, index)), ..SnapshotMeta::default() }
    }

    fn table(result: Result<(), Error>) -> Option<Table> {
        match result {
            Err(Error::RolledBack { table, .. }) => Some(table),
            Err(error) => panic!("{error}"),
            Ok(()) => None,
        }
    }

    #[test]
    fn vote_or_snapshot_older_than_the_log_is_named() {
        assert_eq!(table(held(0, None).check(None, None)), None);
        assert_eq!(table(held(3, None).check(vote(3), None)), None);
        assert_eq!(table(held(3, None).check(vote(2), None)), Some(Table::Votes));
        assert_eq!(table(held(3, None).check(None, None)), Some(Table::Votes));
        assert_eq!(table(held(0, Some(5)).check(None, Some(&meta(5)))), None);
        assert_eq!(table(held(0, Some(5)).check(None, Some(&meta(4)))), Some(Table::Snapshots));
        assert_eq!(table(held(0, Some(5)).check(None, None)), Some(Table::Snapshots));
    }
}
