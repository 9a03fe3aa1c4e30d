//! Snapshots on disk: the state's bytes with a head that says where in the log they stand.
//!
//! When one is made and who gets it is decided elsewhere.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use swarm_net::frame;
use swarm_state::store::{Error, SnapshotTable};

use crate::types::{Snapshot, SnapshotMeta};
use crate::wire::SnapshotHead;
use crate::work::{User, Work, is_full, wait_for_room};

/// Bytes written at once.
const CHUNK: usize = 256 * 1024;

/// The snapshots of this node. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Snapshots {
    table: SnapshotTable,
    work: Work,
    /// What is known to be on disk.
    stored: Arc<Mutex<Option<SnapshotMeta>>>,
    _user: User,
}

impl Snapshots {
    pub(crate) fn new(table: SnapshotTable, work: Work, user: User) -> Self {
        Self { table, work, stored: Arc::default(), _user: user }
    }

    /// How this node does blocking work.
    pub(crate) fn work(&self) -> Work {
        self.work
    }

    /// Replaces the newest snapshot, durably, unless it is this one already. A full disk is waited for.
    pub(crate) async fn save(&self, meta: SnapshotMeta, bytes: Bytes) -> io::Result<()> {
        loop {
            let (table, stored) = (self.table.clone(), self.stored.clone());
            let (meta, bytes) = (meta.clone(), bytes.clone());
            let work = move || {
                // Held while writing, so that of two snapshots the newer one stays.
                let mut stored = stored.lock().unwrap_or_else(PoisonError::into_inner);
                if stored.as_ref().is_some_and(|stored| stored.last_log_id >= meta.last_log_id) {
                    return Ok(());
                }
                write(&table, &meta, &bytes)?;
                *stored = Some(meta);
                Ok(())
            };
            match self.work.run(work).await {
                Err(error) if is_full(&error) => wait_for_room(&error).await,
                result => return result,
            }
        }
    }

    /// The newest snapshot, checked.
    pub(crate) async fn newest(&self) -> io::Result<Option<Snapshot>> {
        let (table, stored) = (self.table.clone(), self.stored.clone());
        let work = move || {
            let mut stored = stored.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(reader) = table.latest()? else { return Ok(None) };
            let head: SnapshotHead = frame::decode(reader.meta()).map_err(io::Error::other)?;
            let meta = SnapshotMeta::try_from(head).map_err(io::Error::other)?;
            let bytes = Bytes::from(reader.read_all()?);
            *stored = Some(meta.clone());
            Ok(Some(Snapshot { meta, snapshot: bytes }))
        };
        self.work.run(work).await
    }
}

/// Makes `bytes` the newest snapshot, durably.
pub(crate) fn write(table: &SnapshotTable, meta: &SnapshotMeta, bytes: &[u8]) -> Result<(), Error> {
    let mut writer = table.create(&frame::encode(&SnapshotHead::from(meta)))?;
    for chunk in bytes.chunks(CHUNK) {
        writer.write(chunk)?;
    }
    writer.finish()?;
    Ok(())
}
