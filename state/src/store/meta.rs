//! What the data directory is and how far its log had come: format, cluster, node, marks.

use std::sync::{Arc, Mutex, MutexGuard};

use swarm_model::id::{ClusterId, NodeId};

use super::codec::{self, Kind};
use super::kv::{Kv, Write};
use super::{DiskFault, Error, Position, Table};

/// The newest format of the data directory.
pub const FORMAT: u32 = 2;

const FORMAT_KEY: &[u8] = b"mf";
const IDENTITY_KEY: &[u8] = b"mi";
const HIGH_WATER_KEY: &[u8] = b"mh";
const PURGED_KEY: &[u8] = b"mp";
const COMMITTED_KEY: &[u8] = b"mc";

/// Whose data directory it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
}

/// The table; clones share it.
#[derive(Debug, Clone)]
pub struct MetaTable {
    kv: Kv,
    /// Noted, not written yet.
    committed: Arc<Mutex<Option<Vec<u8>>>>,
}

impl MetaTable {
    pub(super) fn new(kv: Kv) -> Self {
        Self { kv, committed: Arc::default() }
    }

    fn value(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let Some(bytes) = self.kv.get(key) else { return Ok(None) };
        codec::open(Kind::Meta, &bytes).map(|value| Some(value.to_vec())).map_err(|what| {
            Error::damaged(Table::Votes, self.kv.dir(), 0, format!("metadata: {what}"))
        })
    }

    fn words<const N: usize>(&self, key: &[u8]) -> Result<Option<[u8; N]>, Error> {
        let Some(value) = self.value(key)? else { return Ok(None) };
        value.try_into().map(Some).map_err(|value: Vec<u8>| {
            let what = format!("metadata of {} bytes instead of {N}", value.len());
            Error::damaged(Table::Votes, self.kv.dir(), 0, what)
        })
    }

    fn put(key: &[u8], value: &[u8]) -> Write {
        Write::Put(key.to_vec(), codec::seal(Kind::Meta, value))
    }

    /// The data directory's format; `None` before the first start.
    pub(super) fn format(&self) -> Result<Option<u32>, Error> {
        Ok(self.words(FORMAT_KEY)?.map(u32::from_le_bytes))
    }

    pub(super) fn format_write(format: u32) -> Write {
        Self::put(FORMAT_KEY, &format.to_le_bytes())
    }

    #[cfg(test)]
    pub(super) fn write_format(&self, format: u32) -> Result<(), Error> {
        self.kv.apply_durably(&[Self::format_write(format)])
    }

    /// Whose directory it is; `None` before the node joined a cluster.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn identity(&self) -> Result<Option<Identity>, Error> {
        let Some(bytes) = self.words::<32>(IDENTITY_KEY)? else { return Ok(None) };
        let half = |at: usize| {
            let chunk = bytes[at..].first_chunk().expect("32 bytes hold two ids");
            u128::from_le_bytes(*chunk)
        };
        let (cluster, node) = (ClusterId::from_raw(half(0)), NodeId::from_raw(half(16)));
        Ok(Some(Identity { cluster, node }))
    }

    /// Takes the directory for `identity`, durably; taking it again is fine.
    ///
    /// # Errors
    /// [`Error::OtherCluster`] or [`Error::OtherNode`] if it is someone else's.
    pub fn claim(&self, identity: Identity) -> Result<(), Error> {
        if let Some(found) = self.identity()? {
            if found.cluster != identity.cluster {
                let (expected, found) = (identity.cluster, found.cluster);
                return Err(Error::OtherCluster { expected, found });
            }
            if found.node != identity.node {
                return Err(Error::OtherNode { expected: identity.node, found: found.node });
            }
            return Ok(());
        }
        let mut bytes = identity.cluster.raw().to_le_bytes().to_vec();
        bytes.extend_from_slice(&identity.node.raw().to_le_bytes());
        self.kv.apply_durably(&[Self::put(IDENTITY_KEY, &bytes)])
    }

    fn position(&self, key: &[u8]) -> Result<Option<Position>, Error> {
        Ok(self.words(key)?.map(|bytes| Position::from_bytes(&bytes)))
    }

    /// The newest log record that is known to be durable.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn high_water(&self) -> Result<Option<Position>, Error> {
        self.position(HIGH_WATER_KEY)
    }

    /// Sets the mark and writes the noted committed record along, durably.
    pub(super) fn set_high_water(&self, mark: Option<Position>) -> Result<(), Error> {
        let mut writes = vec![match mark {
            Some(mark) => Self::put(HIGH_WATER_KEY, &mark.to_bytes()),
            None => Write::Remove(HIGH_WATER_KEY.to_vec()),
        }];
        let noted = self.noted().take();
        writes.extend(noted.as_deref().map(|noted| Self::put(COMMITTED_KEY, noted)));
        let written = self.kv.apply_durably(&writes);
        if written.is_err() && self.noted().is_none() {
            *self.noted() = noted;
        }
        written
    }

    /// Notes the mark without a sync: a killed process leaves it, a power cut need not.
    pub(super) fn hint_high_water(&self, mark: Position) -> Result<(), Error> {
        self.kv.apply(&[Self::put(HIGH_WATER_KEY, &mark.to_bytes())])
    }

    /// What watches the syncs of this store.
    pub(super) fn fault(&self) -> &DiskFault {
        self.kv.fault()
    }

    fn noted(&self) -> MutexGuard<'_, Option<Vec<u8>>> {
        self.committed.lock().expect("no holder of the note panics")
    }

    /// Whether a committed record was noted and not written yet.
    pub(super) fn has_note(&self) -> bool {
        self.noted().is_some()
    }

    /// The newest log record that was purged.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn last_purged(&self) -> Result<Option<Position>, Error> {
        self.position(PURGED_KEY)
    }

    /// Sets it, durably.
    pub(super) fn set_last_purged(&self, last: Position) -> Result<(), Error> {
        self.kv.apply_durably(&[Self::put(PURGED_KEY, &last.to_bytes())])
    }

    /// The newest committed record that was noted; after a crash an older one.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn committed(&self) -> Result<Option<Vec<u8>>, Error> {
        match self.noted().clone() {
            Some(noted) => Ok(Some(noted)),
            None => self.value(COMMITTED_KEY),
        }
    }

    /// Notes what is committed (opaque bytes). Costs no disk access: it is written together with
    /// the next high-water mark.
    pub fn note_committed(&self, committed: &[u8]) {
        *self.noted() = Some(committed.to_vec());
    }
}
