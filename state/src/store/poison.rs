//! Remembers a failed sync: after one, the kernel may have dropped the pages and say "done" next
//! time, so nothing that follows can be trusted ("fsyncgate", `PostgreSQL` 2018).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::Error;

/// Set once, at the first failed sync of a table.
#[derive(Debug, Default)]
pub(crate) struct Poison(OnceLock<(PathBuf, String)>);

impl Poison {
    /// # Errors
    /// [`Error::Poisoned`] after a failed sync.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.0.get() {
            None => Ok(()),
            Some((path, why)) => Err(Error::Poisoned { path: path.clone(), why: why.clone() }),
        }
    }

    /// Passes a sync's result on, and remembers a failure.
    pub(crate) fn watch(&self, path: &Path, result: io::Result<()>) -> Result<(), Error> {
        if let Err(error) = result {
            tracing::error!(path = %path.display(), %error, "sync failed, table stopped");
            let (path, why) = self.0.get_or_init(|| (path.to_owned(), error.to_string()));
            return Err(Error::Poisoned { path: path.clone(), why: why.clone() });
        }
        Ok(())
    }
}
