//! Notices a disk that runs full before the log does: clients hear of it while the node can still
//! agree on its own upkeep.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Below this much free space clients' writes are refused: the log takes space ahead in steps of
/// 4 MiB, a snapshot takes the size of the state.
pub(crate) const RESERVE_BYTES: u64 = 24 << 20;
/// How old an answer of the file system may be.
const FRESH: Duration = Duration::from_millis(200);

/// Watches the free space of one directory's file system.
#[derive(Debug)]
pub struct DiskGuard {
    dir: PathBuf,
    last: Mutex<Option<(Instant, u64)>>,
}

impl DiskGuard {
    /// For the file system of `dir`.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, last: Mutex::new(None) }
    }

    /// Whether there is room for clients' writes.
    ///
    /// # Errors
    /// What to tell the client when there is not.
    pub fn check(&self) -> Result<(), String> {
        let free = self.free_bytes();
        if free >= RESERVE_BYTES {
            return Ok(());
        }
        Err(format!(
            "the disk of this node is full ({} has {} KiB left, {} MiB are kept back): free space there, \
             then try again",
            self.dir.display(),
            free / 1024,
            RESERVE_BYTES >> 20
        ))
    }

    /// Free space; a file system that does not tell counts as roomy.
    fn free_bytes(&self) -> u64 {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, free)) = *last
            && at.elapsed() < FRESH
        {
            return free;
        }
        let free = rustix::fs::statvfs(&self.dir)
            .map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        *last = Some((Instant::now(), free));
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_roomy_or_silent_disk_takes_writes() {
        let guard = DiskGuard::new(PathBuf::from("/nonexistent"));
        assert_eq!(guard.check(), Ok(()));
        *guard.last.lock().expect("unpoisoned") = Some((Instant::now(), RESERVE_BYTES - 1));
        let refusal = guard.check().expect_err("below the reserve");
        assert!(refusal.contains("disk of this node is full"), "{refusal}");
    }
}
