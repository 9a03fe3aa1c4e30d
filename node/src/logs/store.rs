//! The rings of all tasks of a node, below one directory.
//!
//! Deciding which rings are old enough to remove is the caller's work.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::stream::BoxStream;
use swarm_model::id::TaskId;
use swarm_model::units;

use super::line::LogLine;
use super::query::{self, LogQuery};
use super::ring;
use crate::work::Work;

/// Why logs cannot be read or removed. Nothing was changed, except that a removal may be half done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory of all rings.
    #[error("cannot use log directory {dir}: check that the disk is mounted and writable", dir = dir.display())]
    Open {
        /// Which.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// One ring.
    #[error("cannot read logs in {dir}", dir = dir.display())]
    Read {
        /// Which.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// One ring.
    #[error("cannot remove logs in {dir}", dir = dir.display())]
    Remove {
        /// Which.
        dir: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The daemon is shutting down.
    #[error("the node is shutting down")]
    ShuttingDown,
}

/// All rings of this node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LogStore {
    dir: Arc<Path>,
    work: Work,
}

impl LogStore {
    /// Uses `dir`, which is made when missing (mode 0700). Blocking.
    ///
    /// # Errors
    /// [`Error::Open`].
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, Error> {
        let dir = dir.into();
        match fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir) {
            Ok(()) => Ok(Self { dir: dir.into(), work: Work::Threads }),
            Err(source) => Err(Error::Open { dir, source }),
        }
    }

    /// The same store, without threads for upkeep: for simulations.
    #[must_use]
    pub fn inline(self) -> Self {
        Self { work: Work::Inline, ..self }
    }

    /// Where a task's ring is or will be.
    pub fn ring(&self, task: TaskId) -> PathBuf {
        self.dir.join(task.to_string())
    }

    /// The lines of a task in the order of writing. A task without logs has none (a follower waits
    /// for them). Dropping the stream ends it.
    pub fn query(
        &self,
        task: TaskId,
        query: LogQuery,
    ) -> BoxStream<'static, Result<LogLine, Error>> {
        query::run(self.ring(task), query)
    }

    /// Tells followers that the task has ended, for a writer that could not. Blocking. A follower
    /// that misses it ends with its client.
    pub(crate) fn mark_end(&self, task: TaskId) {
        ring::mark_end(&self.ring(task)).ok();
    }

    /// Removes a task's ring; none is fine.
    ///
    /// # Errors
    /// [`Error::Remove`]. May be repeated.
    pub async fn remove(&self, task: TaskId) -> Result<(), Error> {
        let dir = self.ring(task);
        let removed = move || match fs::remove_dir_all(&dir) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::Remove { dir, source })
            }
            _ => Ok(()),
        };
        self.work.run(removed).await
    }

    /// What every ring takes on disk.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn usage(&self) -> Result<BTreeMap<TaskId, units::Bytes>, Error> {
        let dir = Arc::clone(&self.dir);
        let read =
            move || usage(&dir).map_err(|source| Error::Read { dir: dir.to_path_buf(), source });
        self.work.run(read).await
    }
}

fn usage(dir: &Path) -> io::Result<BTreeMap<TaskId, units::Bytes>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Some(task) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let mut bytes = 0;
        for file in fs::read_dir(entry.path())? {
            // Files come and go while rings rotate.
            bytes += file?.metadata().map_or(0, |metadata| metadata.len());
        }
        found.insert(task, units::Bytes(bytes));
    }
    Ok(found)
}

/// Runs blocking work on the runtime's threads for it.
pub(super) async fn blocking<T, F>(work: F) -> Result<T, Error>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, Error> + Send + 'static,
{
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Error::ShuttingDown))
}
