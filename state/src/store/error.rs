//! Why the tables on disk refuse or fail: one enum, with variants by what the caller can do.
//!
//! The texts are made for a person: what failed, on which file, why, and the next step.

use std::io;
use std::path::{Path, PathBuf};

use swarm_model::id::{ClusterId, NodeId};

use super::harm::{Harm, Table};

/// What went wrong in a table. Unless a variant says otherwise, nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system failed an operation other than a sync. May be retried.
    #[error("cannot {what} {path}")]
    Io {
        /// The operation, as a verb.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// No space left. The table stays usable and the same write may be retried later.
    #[error("the disk is full at {path}: free some space, the node goes on by itself")]
    DiskFull {
        /// The file that could not grow.
        path: PathBuf,
    },
    /// A sync failed, now or earlier: what was written since may be lost, so this table answers
    /// nothing any more until the process is restarted. Never retry.
    #[error("a sync of {path} failed ({why}): replace or check the disk, then restart the node")]
    Poisoned {
        /// The file whose sync failed.
        path: PathBuf,
        /// The system's reason at that time.
        why: String,
    },
    /// Stored bytes are not what was written. Nothing was changed.
    #[error("{file} ({table}) is damaged at byte {offset}: {what}; {}", table.advice())]
    Damaged {
        /// Whose file it is.
        table: Table,
        /// The damaged file.
        file: PathBuf,
        /// Where, in bytes from its start.
        offset: u64,
        /// What does not fit.
        what: String,
    },
    /// A table is older than the others know it was: an old copy, or a disk that lied. Nothing was
    /// changed.
    #[error(
        "{file} ({table}) ends at {found}, but {expected} was durable here once: it is an old copy \
         or the disk lost writes; {}", table.advice()
    )]
    RolledBack {
        /// The table that went back.
        table: Table,
        /// Its file or folder.
        file: PathBuf,
        /// What it must hold.
        expected: String,
        /// What it holds.
        found: String,
    },
    /// Another process holds the data directory.
    #[error("{dir} is in use by {}: stop it, or choose another --data-dir", holder(.pid))]
    InUse {
        /// The data directory.
        dir: PathBuf,
        /// Its process, if it could be read.
        pid: Option<u32>,
    },
    /// The folder was written by a newer program.
    #[error("{path} has format {found}, this program knows up to {known}: use a newer swarm")]
    OtherFormat {
        /// The file or folder.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// The folder belongs to another cluster.
    #[error("the data directory belongs to cluster {found}, not {expected}: choose another one")]
    OtherCluster {
        /// The cluster asked for.
        expected: ClusterId,
        /// The cluster on disk.
        found: ClusterId,
    },
    /// The folder belongs to another node.
    #[error("the data directory belongs to node {found}, not {expected}: choose another one")]
    OtherNode {
        /// The node asked for.
        expected: NodeId,
        /// The node on disk.
        found: NodeId,
    },
    /// A record is larger than its table takes.
    #[error("a record of {size} bytes is over the table's limit of {limit}")]
    TooLarge {
        /// Bytes offered.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The caller left a gap in, or wrote over, the log.
    #[error("log record {found} offered where {expected} comes next")]
    NotNext {
        /// The index that comes next.
        expected: u64,
        /// The index offered.
        found: u64,
    },
    /// The record is not in the log: purged, cut off or not yet written.
    #[error("log record {index} is not here")]
    Absent {
        /// The index asked for.
        index: u64,
    },
}

/// Whether the device itself, not the file system's rules, refused.
fn is_disk_error(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    const EUCLEAN: i32 = 117;
    const EROFS: i32 = 30;
    matches!(error.raw_os_error(), Some(EIO | EUCLEAN | EROFS))
}

fn holder(pid: &Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl Error {
    /// Wraps a failed operation on `path`; a full disk gets its own variant.
    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            _other => Self::Io { what, path, source },
        }
    }

    pub(crate) fn damaged(table: Table, file: &Path, offset: u64, what: impl Into<String>) -> Self {
        Self::Damaged { table, file: file.to_owned(), offset, what: what.into() }
    }

    /// What it means for the node as a whole.
    pub fn harm(&self) -> Harm {
        match self {
            Self::Damaged { table, .. } | Self::RolledBack { table, .. } => table.harm(),
            Self::Poisoned { .. } => Harm::Disk,
            Self::Io { source, .. } if is_disk_error(source) => Harm::Disk,
            Self::DiskFull { .. } => Harm::Full,
            Self::Io { .. }
            | Self::InUse { .. }
            | Self::OtherFormat { .. }
            | Self::OtherCluster { .. }
            | Self::OtherNode { .. }
            | Self::TooLarge { .. }
            | Self::NotNext { .. }
            | Self::Absent { .. } => Harm::Nothing,
        }
    }

    /// The store's error that an error of another kind carries, if it does: what went through
    /// [`io::Error`] and other wrappers is found again.
    pub fn find<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(found);
            }
            // An `io::Error` is transparent: its `source` skips what it wraps.
            let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            next = match wrapped {
                Some(wrapped) => Some(wrapped),
                None => error.source(),
            };
        }
        None
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Io { source, .. } => source.kind(),
            Error::DiskFull { .. } => io::ErrorKind::StorageFull,
            Error::Damaged { .. } | Error::RolledBack { .. } => io::ErrorKind::InvalidData,
            Error::InUse { .. } => io::ErrorKind::ResourceBusy,
            Error::TooLarge { .. } | Error::NotNext { .. } => io::ErrorKind::InvalidInput,
            Error::Absent { .. } => io::ErrorKind::NotFound,
            Error::Poisoned { .. }
            | Error::OtherFormat { .. }
            | Error::OtherCluster { .. }
            | Error::OtherNode { .. } => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
