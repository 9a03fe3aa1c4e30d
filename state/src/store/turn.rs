//! One number that only grows, in the replica's map and in the agent's: an old copy of either, or
//! one that is missing, shows as soon as the other is opened.
//!
//! It grows at each start and with each vote. The replica's map is written first, so it may be one
//! ahead after a crash; any other difference means that a file went back. Old copies of both
//! together are not found here: only the cluster can tell.

use std::sync::{Arc, Mutex, MutexGuard};

use super::codec::{self, Kind};
use super::kv::{Kv, Looked, Write};
use super::{Error, Table};

const KEY: &[u8] = b"t";

/// The number and its two homes; clones share them.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    votes: Kv,
    agent: Kv,
    now: Arc<Mutex<Now>>,
}

/// What the two maps say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    votes: u64,
    agent: u64,
}

/// What a map says; 0 if it says nothing.
pub(super) fn read(map: &Looked) -> Result<u64, Error> {
    let Some(bytes) = map.map.get(KEY) else { return Ok(0) };
    let turn = codec::open(kind(map.table), bytes)
        .and_then(|turn| turn.try_into().map_err(|_length| "it is not a number".to_owned()));
    match turn {
        Ok(turn) => Ok(u64::from_le_bytes(turn)),
        Err(what) => Err(Error::damaged(map.table, &map.dir, 0, format!("the turn: {what}"))),
    }
}

/// Compares the two maps.
pub(super) fn check(votes: &Looked, agent: &Looked) -> Result<Now, Error> {
    let now = Now { votes: read(votes)?, agent: read(agent)? };
    if now.votes == now.agent || now.votes == now.agent + 1 {
        return Ok(now);
    }
    let older = if now.votes < now.agent { votes } else { agent };
    Err(Error::RolledBack {
        table: older.table,
        file: older.dir.clone(),
        expected: format!("turn {}", now.votes.max(now.agent)),
        found: format!("turn {}", now.votes.min(now.agent)),
    })
}

/// Sets it in a map of `table`.
pub(super) fn write(table: Table, turn: u64) -> Write {
    Write::Put(KEY.to_vec(), codec::seal(kind(table), &turn.to_le_bytes()))
}

fn kind(table: Table) -> Kind {
    match table {
        Table::Agent => Kind::Agent,
        Table::Log | Table::Votes | Table::Snapshots => Kind::Meta,
    }
}

impl Turn {
    /// Begins the next turn, durably.
    pub(super) fn begin(votes: Kv, agent: Kv, now: Now) -> Result<Self, Error> {
        let turn = Self { votes, agent, now: Arc::new(Mutex::new(now)) };
        turn.advance(&[])?;
        turn.settle()?;
        Ok(turn)
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().expect("no holder of the turn panics")
    }

    /// The number now.
    pub(super) fn current(&self) -> u64 {
        self.now().votes
    }

    /// Writes `writes` to the replica's map together with the next number, durably.
    pub(super) fn advance(&self, writes: &[Write]) -> Result<(), Error> {
        self.settle()?;
        let mut now = self.now();
        let next = now.votes + 1;
        let batch = [writes, &[write(Table::Votes, next)]].concat();
        self.votes.apply_durably(&batch)?;
        now.votes = next;
        Ok(())
    }

    /// Brings the agent's map up to the replica's, durably; does nothing if it is.
    pub(super) fn settle(&self) -> Result<(), Error> {
        let mut now = self.now();
        if now.agent != now.votes {
            self.agent.apply_durably(&[write(Table::Agent, now.votes)])?;
            now.agent = now.votes;
        }
        Ok(())
    }
}
