//! The vote: what this node promised, durable before anyone hears of it.
//!
//! The bytes are Raft's business.

use std::path::Path;

use super::codec::{self, Kind};
use super::kv::{Kv, Write};
use super::turn::Turn;
use super::{Error, MAX_VALUE, Table};

const KEY: &[u8] = b"v";

/// The table of one vote; clones share it.
#[derive(Debug, Clone)]
pub struct VoteTable {
    kv: Kv,
    turn: Turn,
}

impl VoteTable {
    pub(super) fn new(kv: Kv, turn: Turn) -> Self {
        Self { kv, turn }
    }

    /// The folder it lives in.
    pub fn dir(&self) -> &Path {
        self.kv.dir()
    }

    /// The last vote saved.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it does not read back.
    pub fn read(&self) -> Result<Option<Vec<u8>>, Error> {
        let Some(bytes) = self.kv.get(KEY) else { return Ok(None) };
        match codec::open(Kind::Vote, &bytes) {
            Ok(vote) => Ok(Some(vote.to_vec())),
            Err(what) => {
                Err(Error::damaged(Table::Votes, self.kv.dir(), 0, format!("the vote: {what}")))
            }
        }
    }

    /// Saves a vote; durable when this returns. Blocks for one sync.
    ///
    /// # Errors
    /// As of a write; after [`Error::Poisoned`] it is unknown which vote a restart finds.
    pub fn save(&self, vote: &[u8]) -> Result<(), Error> {
        if vote.len() > MAX_VALUE {
            return Err(Error::TooLarge { size: vote.len(), limit: MAX_VALUE });
        }
        self.turn.advance(&[Write::Put(KEY.to_vec(), codec::seal(Kind::Vote, vote))])
    }

    /// Notes in another file that there was a newer vote, so that an old copy of this table is
    /// found. To be called soon after [`VoteTable::save`], when nobody waits for the vote any
    /// more; the next `save` does it otherwise. Blocks for one sync, if there is anything to note.
    ///
    /// # Errors
    /// As of a write.
    pub fn witness(&self) -> Result<(), Error> {
        self.turn.settle()
    }
}
