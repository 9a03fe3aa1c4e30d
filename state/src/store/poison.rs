//! Remembers a failed sync: after one, the kernel may have dropped the pages and say "done" next
//! time, so nothing that follows can be trusted ("fsyncgate", `PostgreSQL` 2018).
//!
//! One for all tables of a store: a disk that failed one of them is not trusted with another, and
//! the node hears of it at once, whoever wrote.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::Error;

type Tell = Box<dyn FnOnce(String) + Send>;

/// Whether a sync of any table of a store has failed; clones share it.
#[derive(Clone, Default)]
pub struct DiskFault(Arc<Inner>);

#[derive(Default)]
struct Inner {
    first: OnceLock<(PathBuf, String)>,
    tell: Mutex<Vec<Tell>>,
}

impl fmt::Debug for DiskFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DiskFault").field(&self.0.first.get()).finish()
    }
}

impl DiskFault {
    /// Fails after a failed sync.
    ///
    /// # Errors
    /// [`Error::Poisoned`].
    pub fn check(&self) -> Result<(), Error> {
        match self.0.first.get() {
            None => Ok(()),
            Some((path, why)) => Err(Error::Poisoned { path: path.clone(), why: why.clone() }),
        }
    }

    /// Calls `tell` with the disk's message as soon as a sync has failed; now, if one has.
    ///
    /// It is called on the thread that synced and must not block.
    pub fn on_failure(&self, tell: impl FnOnce(String) + Send + 'static) {
        self.0.tell.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(tell));
        if self.check().is_err() {
            self.tell_all();
        }
    }

    fn tell_all(&self) {
        let waiting =
            std::mem::take(&mut *self.0.tell.lock().unwrap_or_else(PoisonError::into_inner));
        if let Err(error) = self.check() {
            for tell in waiting {
                tell(error.to_string());
            }
        }
    }

    /// Passes a sync's result on, and remembers a failure.
    pub(crate) fn watch(&self, path: &Path, result: io::Result<()>) -> Result<(), Error> {
        if let Err(error) = result {
            tracing::error!(path = %path.display(), %error, "sync failed, the store is stopped");
            self.0.first.get_or_init(|| (path.to_owned(), error.to_string()));
            self.tell_all();
            return self.check();
        }
        Ok(())
    }
}
