//! Why files are not copied, for a person.

use std::io;
use std::path::Path;

/// What went wrong. What came before it was copied; nothing after it was.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The path leads out of the directory, by `..` or by a link.
    #[error("{path} leads out of the directory that may be reached")]
    Outside {
        /// The path.
        path: String,
    },
    /// Nothing is there.
    #[error("{path}: no such file or directory")]
    Missing {
        /// The path.
        path: String,
    },
    /// An entry that is not taken.
    #[error("{entry} is refused: {why}; nothing after it was copied")]
    Refused {
        /// Its path.
        entry: String,
        /// What is wrong with it.
        why: String,
    },
    /// The bytes are no archive, or not all of it came.
    #[error("the archive cannot be read: {0}")]
    Damaged(#[source] io::Error),
    /// Nobody reads what is packed.
    #[error("the archive cannot be written: {0}")]
    Unread(#[source] io::Error),
    /// The system refused.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Characters of a path that are shown.
const SHOWN_MAX: usize = 300;

/// A path for a person's terminal: on one line, without what would move the cursor.
pub(super) fn plain(path: &Path) -> String {
    let text = path.to_string_lossy();
    let mut all = text.chars();
    let mut shown: String = all.by_ref().take(SHOWN_MAX).map(printable).collect();
    if all.next().is_some() {
        shown.push('…');
    }
    shown
}

fn printable(character: char) -> char {
    if character.is_control() { '?' } else { character }
}

impl ArchiveError {
    /// A refused entry.
    pub(super) fn refused(entry: &Path, why: impl Into<String>) -> Self {
        Self::Refused { entry: plain(entry), why: why.into() }
    }

    /// What the system said about a path, as the variant that fits.
    pub(crate) fn at(what: &'static str, path: &Path, error: rustix::io::Errno) -> Self {
        let path = plain(path);
        match error {
            rustix::io::Errno::XDEV => Self::Outside { path },
            rustix::io::Errno::NOENT => Self::Missing { path },
            error => Self::Io { what, path, source: error.into() },
        }
    }
}
