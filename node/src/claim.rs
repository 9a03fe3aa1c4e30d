//! A data directory while it is prepared: one at a time, and as it was before unless it is kept.
//!
//! What is put into it is decided by `setup`.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::config::CONFIG_FILE;
use crate::setup::SetupError;

/// Of a directory that is made here: it holds keys.
const MODE: u32 = 0o700;
/// There while a directory is prepared. Whoever finds it beside no node has found what a process that was
/// killed left behind: all of it is of no use to anybody.
const PREPARING: &str = ".swarm-preparing";
/// Name of the daemon's log in a data directory, which may be there before anything else is.
pub const DAEMON_LOG: &str = "daemon.log";

/// A directory that is emptied again unless it is kept. Nobody else can claim it meanwhile.
#[derive(Debug)]
pub(crate) struct Claim {
    dir: PathBuf,
    made: bool,
    kept: bool,
    /// Locked for as long as it is open; a lock dies with its process and leaves no file.
    lock: File,
}

impl Claim {
    /// Claims `dir`, which is made if there is none.
    ///
    /// # Errors
    /// When a node or something else lives there, somebody else prepares it, or it cannot be used.
    pub(crate) fn take(dir: &Path) -> Result<Self, SetupError> {
        let failed = |source: io::Error| match source.kind() {
            // Of a parent that is a file the system says that it exists.
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                SetupError::NotDirectory { dir: dir.to_owned() }
            }
            _ => SetupError::Dir { dir: dir.to_owned(), source },
        };
        let busy = || SetupError::Busy { dir: dir.to_owned() };
        let made = make(dir).map_err(failed)?;
        if !fs::metadata(dir).map_err(failed)?.is_dir() {
            return Err(SetupError::NotDirectory { dir: dir.to_owned() });
        }
        let lock = File::open(dir).map_err(failed)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(busy()),
            Err(error) => return Err(failed(error.into())),
        }
        // Who held the lock before may have removed the directory, which is another one then.
        match (fs::metadata(dir), lock.metadata()) {
            (Ok(now), Ok(locked)) if (now.dev(), now.ino()) == (locked.dev(), locked.ino()) => {}
            (Ok(_), Ok(_)) | (Err(_), _) | (_, Err(_)) => return Err(busy()),
        }
        if dir.join(CONFIG_FILE).exists() {
            return Err(SetupError::Occupied { dir: dir.to_owned() });
        }
        if dir.join(PREPARING).exists() {
            tracing::info!(dir = %dir.display(), "what was begun here and broke off is removed");
            // The mark goes last: this can be broken off, too.
            clear_but(dir, &[DAEMON_LOG, PREPARING]).map_err(failed)?;
        }
        let strange = fs::read_dir(dir)
            .map_err(failed)?
            .filter_map(Result::ok)
            .any(|entry| entry.file_name() != DAEMON_LOG && entry.file_name() != PREPARING);
        if strange {
            return Err(SetupError::NotEmpty { dir: dir.to_owned() });
        }
        let claim = Self { dir: dir.to_owned(), made, kept: false, lock };
        // Before anything else is there, also after a power cut.
        File::create(dir.join(PREPARING))
            .and_then(|mark| mark.sync_all())
            .and_then(|()| claim.lock.sync_all())
            .map_err(failed)?;
        Ok(claim)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }

    /// It is prepared, and a node is in it: it stays.
    pub(crate) fn keep(mut self) {
        self.kept = true;
        // Beside a node it means nothing: no harm if it stays.
        fs::remove_file(self.dir.join(PREPARING)).ok();
    }
}

/// Makes `dir` for its owner alone; `false` when it was there.
fn make(dir: &Path) -> io::Result<bool> {
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(MODE).create(dir) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // Only what was written here: nothing but a log was in the directory before.
        let removed = if self.made {
            fs::remove_dir_all(&self.dir)
        } else {
            clear_but(&self.dir, &[DAEMON_LOG])
        };
        if let Err(error) = removed {
            tracing::warn!(dir = %self.dir.display(), %error, "cannot clean up");
        }
    }
}

/// Removes everything in `dir`, but not `dir` itself.
///
/// # Errors
/// What could not be removed.
pub fn clear(dir: &Path) -> io::Result<()> {
    clear_but(dir, &[])
}

fn clear_but(dir: &Path, kept: &[&str]) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if kept.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_claims_of_one_directory_exclude_each_other() {
        let home = tempfile::tempdir().expect("temp dir");
        let dir = home.path().join("a/b");
        let first = Claim::take(&dir).expect("free");
        assert!(matches!(Claim::take(&dir), Err(SetupError::Busy { .. })));
        fs::write(first.path().join(CONFIG_FILE), "{}").expect("written");
        assert!(matches!(Claim::take(&dir), Err(SetupError::Busy { .. })));
        first.keep();
        assert!(matches!(Claim::take(&dir), Err(SetupError::Occupied { .. })));
        assert!(dir.join(CONFIG_FILE).exists(), "who was refused must not clean up");
    }

    #[test]
    fn what_a_killed_process_prepared_is_removed_and_what_is_somebody_elses_is_not() {
        let home = tempfile::tempdir().expect("temp dir");
        let dir = home.path().join("d");
        fs::create_dir(&dir).expect("made");
        fs::write(dir.join("peers.json"), "{}").expect("written");
        assert!(matches!(Claim::take(&dir), Err(SetupError::NotEmpty { .. })));
        fs::write(dir.join(PREPARING), "").expect("written");
        let claim = Claim::take(&dir).expect("nobody needs it");
        assert!(!dir.join("peers.json").exists() && dir.join(PREPARING).exists());
        fs::write(dir.join(CONFIG_FILE), "{}").expect("written");
        claim.keep();
        assert!(!dir.join(PREPARING).exists());
        fs::write(dir.join(PREPARING), "").expect("killed before it was removed");
        assert!(matches!(Claim::take(&dir), Err(SetupError::Occupied { .. })));
        assert!(dir.join(CONFIG_FILE).exists());
    }

    #[test]
    fn a_file_is_no_directory() {
        let home = tempfile::tempdir().expect("temp dir");
        let file = home.path().join("f");
        fs::write(&file, "").expect("written");
        for path in [file.clone(), file.join("d")] {
            assert!(matches!(Claim::take(&path), Err(SetupError::NotDirectory { .. })), "{path:?}");
        }
        assert!(file.exists());
    }

    #[test]
    fn of_many_claims_at_once_one_wins() {
        let home = tempfile::tempdir().expect("temp dir");
        let dir = home.path().join("d");
        let claims = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| Claim::take(&dir))).collect();
            threads.into_iter().map(|it| it.join().expect("no panic")).collect::<Vec<_>>()
        });
        assert_eq!(claims.iter().filter(|claim| claim.is_ok()).count(), 1);
    }

    #[test]
    fn a_made_directory_is_private_and_goes_again() {
        let home = tempfile::tempdir().expect("temp dir");
        let dir = home.path().join("d");
        let claim = Claim::take(&dir).expect("free");
        assert_eq!(fs::metadata(&dir).expect("made").mode() & 0o777, MODE);
        drop(claim);
        assert!(!dir.exists());
        fs::create_dir(&dir).expect("made");
        fs::write(Claim::take(&dir).expect("empty").path().join("x"), "").expect("written");
        assert_eq!(fs::read_dir(&dir).expect("stays").count(), 0);
    }
}
