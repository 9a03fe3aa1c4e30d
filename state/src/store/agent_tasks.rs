//! What the agent must know after a reboot without peers: one opaque record for each of its tasks.

use swarm_model::id::TaskId;

use super::codec::{self, Kind};
use super::kv::{Kv, Write};
use super::{Error, MAX_VALUE, Table};

/// How its keys begin.
pub(super) const PREFIX: u8 = b'a';

/// One change of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentWrite {
    /// Sets a task's record.
    Put(TaskId, Vec<u8>),
    /// Forgets a task; one that is absent is fine.
    Remove(TaskId),
}

/// The table; clones share it.
#[derive(Debug, Clone)]
pub struct AgentTable {
    kv: Kv,
}

fn key(task: TaskId) -> Vec<u8> {
    let mut key = vec![PREFIX];
    key.extend_from_slice(&task.raw().to_be_bytes());
    key
}

impl AgentTable {
    pub(super) fn new(kv: Kv) -> Self {
        Self { kv }
    }

    fn open(&self, task: TaskId, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        codec::open(Kind::Agent, bytes).map(<[u8]>::to_vec).map_err(|what| {
            Error::damaged(Table::Agent, self.kv.dir(), 0, format!("task {task}: {what}"))
        })
    }

    /// The record of one task.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it does not read back.
    pub fn get(&self, task: TaskId) -> Result<Option<Vec<u8>>, Error> {
        self.kv.get(&key(task)).map(|bytes| self.open(task, &bytes)).transpose()
    }

    /// All records, by task id.
    ///
    /// # Errors
    /// [`Error::Damaged`] names the first record that does not read back.
    pub fn scan(&self) -> Result<Vec<(TaskId, Vec<u8>)>, Error> {
        let mut records = Vec::new();
        for (key, bytes) in self.kv.scan(&[PREFIX]) {
            let raw: [u8; 16] = key[1..].try_into().map_err(|_length| {
                Error::damaged(Table::Agent, self.kv.dir(), 0, "an agent key is not a task id")
            })?;
            let task = TaskId::from_raw(u128::from_be_bytes(raw));
            records.push((task, self.open(task, &bytes)?));
        }
        Ok(records)
    }

    /// Applies all writes with one sync; durable when this returns. After a crash all or nothing
    /// is there, unless the writes are over 4 MiB together.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a record over 1 MiB; else as of a write.
    pub fn apply(&self, writes: &[AgentWrite]) -> Result<(), Error> {
        let mut sealed = Vec::with_capacity(writes.len());
        for write in writes {
            sealed.push(match write {
                AgentWrite::Put(_, record) if record.len() > MAX_VALUE => {
                    return Err(Error::TooLarge { size: record.len(), limit: MAX_VALUE });
                }
                AgentWrite::Put(task, record) => {
                    Write::Put(key(*task), codec::seal(Kind::Agent, record))
                }
                AgentWrite::Remove(task) => Write::Remove(key(*task)),
            });
        }
        self.kv.apply_durably(&sealed)
    }

    /// Sets one task's record, durably.
    ///
    /// # Errors
    /// As of [`AgentTable::apply`].
    pub fn put(&self, task: TaskId, record: &[u8]) -> Result<(), Error> {
        self.apply(&[AgentWrite::Put(task, record.to_vec())])
    }

    /// Forgets one task, durably.
    ///
    /// # Errors
    /// As of a write.
    pub fn remove(&self, task: TaskId) -> Result<(), Error> {
        self.apply(&[AgentWrite::Remove(task)])
    }
}
