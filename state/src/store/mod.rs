//! The tables on disk: Raft log, vote, metadata, snapshots, and the agent's tasks.
//!
//! Synchronous and blocking: callers bring threads. Says what is durable and refuses what does not
//! read back; knows neither Raft nor the meaning of a payload. docs/design/storage.md has the
//! formats and the reasons.

mod agent_tasks;
mod aside;
mod codec;
pub mod disk;
mod error;
pub(crate) mod fuzz;
mod harm;
mod kv;
mod log;
mod meta;
mod migrate;
mod poison;
mod record;
mod segment;
mod snapshot;
mod turn;
mod vote;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub use agent_tasks::{AgentTable, AgentWrite};
pub use error::Error;
pub use harm::{Harm, Table};
pub use kv::{Kv, Write};
pub use log::{LogOptions, LogReader, LogTable, Record, SyncHandle};
pub use meta::{FORMAT, Identity, MetaTable};
pub use poison::DiskFault;
pub use snapshot::{SnapshotReader, SnapshotTable, SnapshotWriter};
pub use vote::VoteTable;

use disk::{Disk, RealDisk};
use turn::Turn;

/// The largest value of a small table.
pub const MAX_VALUE: usize = 1 << 20;
/// The folder below the data directory that holds all tables.
const FOLDER: &str = "store";

/// A record's place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Its index.
    pub index: u64,
    /// Its Raft term.
    pub term: u64,
}

impl Position {
    fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.index) | (u128::from(self.term) << 64)).to_le_bytes()
    }

    fn from_bytes(bytes: &[u8; 16]) -> Self {
        let half =
            |at: usize| bytes[at..].first_chunk().map_or(0, |half| u64::from_le_bytes(*half));
        Self { index: half(0), term: half(8) }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (term {})", self.index, self.term)
    }
}

/// All tables of one data directory. The directory is locked until the last table is dropped.
#[derive(Debug)]
pub struct Store {
    /// The Raft log.
    pub log: LogTable,
    /// The vote.
    pub vote: VoteTable,
    /// Whose directory it is, and marks of the log.
    pub meta: MetaTable,
    /// Snapshots of the replicated state.
    pub snapshots: SnapshotTable,
    /// What this node's agent runs.
    pub agent_tasks: AgentTable,
    /// Whether a sync of any of them has failed: then none of them takes anything more.
    pub fault: DiskFault,
    turn: Turn,
}

impl Store {
    /// Opens the data directory `dir`, or makes it.
    ///
    /// # Errors
    /// [`Error::InUse`] if a process has it, [`Error::Damaged`], [`Error::RolledBack`] and
    /// [`Error::OtherFormat`] if it must not be used. [`Error::harm`] says which part is lost;
    /// [`Store::set_aside`] is the way to begin again without it.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let disk = RealDisk::locked(dir)?;
        Self::open_on(Arc::new(disk), dir, LogOptions::default())
    }

    /// Opens the data directory `dir` of `disk`, without a lock: for simulations and tools.
    ///
    /// # Errors
    /// As of [`Store::open`].
    pub fn open_on(disk: Arc<dyn Disk>, dir: &Path, options: LogOptions) -> Result<Self, Error> {
        let folder = dir.join(FOLDER);
        let (kv_dir, agent_dir) = (folder.join("kv"), folder.join("agent"));
        let (log_dir, snapshot_dir) = (folder.join("log"), folder.join("snapshots"));
        let fault = DiskFault::default();
        let votes = Kv::look(disk.clone(), &kv_dir, Table::Votes)?;
        let is_new = votes.map.is_empty();
        if is_new {
            for dir in [&agent_dir, &log_dir, &snapshot_dir] {
                if !disk.list(dir).map_err(Error::io("list", dir))?.is_empty() {
                    let what = format!("nothing is in it, though {} is not empty", dir.display());
                    return Err(Error::damaged(Table::Votes, &kv_dir, 0, what));
                }
            }
        }
        let agent = Kv::look(disk.clone(), &agent_dir, Table::Agent)?;
        kv::check_counts(&votes, &agent)?;
        let now = turn::check(&votes, &agent)?;
        let kv = votes.open(fault.clone())?;
        if is_new {
            // Before anything else is made: a first start that was cut short can be repeated.
            kv.apply_durably(&[migrate::format()])?;
        }
        let meta = MetaTable::new(kv.clone());
        meta.format()?;
        let agent = agent.open(fault.clone())?;
        kv.link(&agent);
        migrate::migrate(&kv, &agent, &meta)?;
        let turn = Turn::begin(kv.clone(), agent.clone(), now)?;
        let snapshots = SnapshotTable::open(disk.clone(), &snapshot_dir, fault.clone())?;
        if snapshots.is_empty() && meta.last_purged()?.is_some() {
            let what = "no snapshot is here, though the log it replaced was purged";
            return Err(Error::damaged(Table::Snapshots, &snapshot_dir, 0, what));
        }
        let log = LogTable::open(disk, &log_dir, meta.clone(), options)?;
        let (vote, agent_tasks) = (VoteTable::new(kv, turn.clone()), AgentTable::new(agent));
        Ok(Self { log, vote, meta, snapshots, agent_tasks, fault, turn })
    }

    /// A number that grows with every start and every vote of this data directory, also when a
    /// part of it was set aside: an older copy of it shows a lower one.
    pub fn turn(&self) -> u64 {
        self.turn.current()
    }

    /// Makes everything durable and notes how far the log came, for a clean stop.
    ///
    /// # Errors
    /// From the disk; the store is still sound.
    pub fn close(&self) -> Result<(), Error> {
        self.log.save_high_water()
    }

    /// Removes every table below `dir`, for a node that left its cluster; other files stay.
    ///
    /// # Errors
    /// [`Error::InUse`] while a process has the directory; [`Error::Io`] half-way, to be repeated.
    pub fn wipe(dir: &Path) -> Result<(), Error> {
        let lock = RealDisk::locked(dir)?;
        // Renamed first, so that no half of it is ever taken for a store.
        let (folder, gone) = (dir.join(FOLDER), dir.join("store.gone"));
        let absent_is_fine = |result: io::Result<()>| match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        absent_is_fine(std::fs::remove_dir_all(&gone)).map_err(Error::io("remove", &gone))?;
        absent_is_fine(std::fs::rename(&folder, &gone)).map_err(Error::io("rename", &folder))?;
        absent_is_fine(std::fs::remove_dir_all(&gone)).map_err(Error::io("remove", &gone))?;
        lock.sync_dir(dir).map_err(Error::io("sync", dir))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
