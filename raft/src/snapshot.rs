//! Snapshots on disk: the state's bytes with a head that says where in the log they stand.
//!
//! When one is made and who gets it is decided elsewhere.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use swarm_net::frame;
use swarm_state::store::SnapshotTable;

use crate::types::{Snapshot, SnapshotMeta};
use crate::wire::SnapshotHead;

/// Bytes written at once.
const CHUNK: usize = 256 * 1024;

/// The snapshots of this node. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Snapshots {
    table: SnapshotTable,
    work: Work,
    /// What is known to be on disk.
    stored: Arc<Mutex<Option<SnapshotMeta>>>,
}

/// Where blocking work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// On the runtime's threads for blocking work.
    Threads,
    /// At once, in the task that asks: for simulations.
    Inline,
}

impl Work {
    /// Does `work` and waits for it.
    pub(crate) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        match self {
            Self::Inline => work(),
            Self::Threads => {
                tokio::task::spawn_blocking(work).await.map_err(io::Error::other).flatten()
            }
        }
    }
}

impl Snapshots {
    pub(crate) fn new(table: SnapshotTable, work: Work) -> Self {
        Self { table, work, stored: Arc::default() }
    }

    /// How this node does blocking work.
    pub(crate) fn work(&self) -> Work {
        self.work
    }

    /// Replaces the newest snapshot, durably, unless it is this one already.
    pub(crate) async fn save(&self, meta: SnapshotMeta, bytes: Bytes) -> io::Result<()> {
        let (table, stored) = (self.table.clone(), self.stored.clone());
        let work = move || {
            // Held while writing, so that of two snapshots the newer one stays.
            let mut stored = stored.lock().unwrap_or_else(PoisonError::into_inner);
            if stored.as_ref().is_some_and(|stored| stored.last_log_id >= meta.last_log_id) {
                return Ok(());
            }
            let mut writer = table.create(&frame::encode(&SnapshotHead::from(&meta)))?;
            for chunk in bytes.chunks(CHUNK) {
                writer.write(chunk)?;
            }
            writer.finish()?;
            *stored = Some(meta);
            Ok(())
        };
        self.work.run(work).await
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
