//! Makes the log durable, from any thread, and keeps the high-water mark.
//!
//! One sync serves every record appended before it began. The mark is saved seldom: it costs a
//! sync of its own.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

use super::shared::Shared;
use crate::store::{Error, Position};

/// Syncs a log; clones share it. All calls block.
#[derive(Debug, Clone)]
pub struct SyncHandle {
    shared: Arc<Shared>,
}

impl SyncHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Waits for a running sync and keeps others from starting.
    pub(super) fn pause(&self) -> Result<MutexGuard<'_, Option<Position>>, Error> {
        let guard = self.shared.syncing.lock().expect("no holder of the sync lock panics");
        self.shared.poison.check()?;
        Ok(guard)
    }

    /// Makes every record that was appended before the call durable and returns the newest.
    ///
    /// # Errors
    /// [`Error::Poisoned`] now and for ever after, if the disk fails: nothing that was not durable
    /// may be acknowledged.
    pub fn sync(&self) -> Result<Option<Position>, Error> {
        let mut saved = self.pause()?;
        self.sync_paused(&mut saved)
    }

    /// [`SyncHandle::sync`] for who has the guard.
    pub(super) fn sync_paused(
        &self,
        saved: &mut Option<Position>,
    ) -> Result<Option<Position>, Error> {
        let shared = &*self.shared;
        let (files, dir_dirty, end, last) = {
            let mut state = shared.state();
            let mut files = Vec::new();
            for segment in state.segments.iter_mut().filter(|segment| segment.dirty) {
                segment.dirty = false;
                files.push((segment.file.clone(), segment.path.clone()));
            }
            (files, std::mem::take(&mut state.dir_dirty), state.end, state.last())
        };
        for (file, path) in &files {
            shared.poison.watch(path, file.sync())?;
        }
        if dir_dirty {
            shared.poison.watch(&shared.dir, shared.disk.sync_dir(&shared.dir))?;
        }
        shared.durable_end.store(end, Ordering::Release);
        // A segment is full: a good time to note the mark, once in some thousand records.
        if dir_dirty && let Err(error) = self.save(saved, last) {
            tracing::warn!(%error, "high-water mark not saved, the older one stands");
        }
        Ok(last)
    }

    /// Records below this index are durable.
    pub fn durable_end(&self) -> u64 {
        self.shared.durable_end()
    }

    /// Makes the log durable and notes how far that is. To be called at a clean stop and when
    /// nothing was appended for about a second; writes nothing if nothing changed.
    ///
    /// # Errors
    /// From the disk; the older mark then stands, which is sound.
    pub fn save_high_water(&self) -> Result<(), Error> {
        let mut saved = self.pause()?;
        let last = self.sync_paused(&mut saved)?;
        if last == *saved && !self.shared.meta.has_note() {
            return Ok(());
        }
        self.save(&mut saved, last)
    }

    fn save(&self, saved: &mut Option<Position>, mark: Option<Position>) -> Result<(), Error> {
        self.shared.meta.set_high_water(mark)?;
        *saved = mark;
        Ok(())
    }

    /// Takes the mark back below `end`, before records from there on are cut off.
    pub(super) fn lower_high_water(
        &self,
        saved: &mut Option<Position>,
        end: u64,
    ) -> Result<(), Error> {
        if saved.is_none_or(|mark| mark.index < end) {
            return Ok(());
        }
        let lower = match end.checked_sub(1) {
            Some(index) => Some(self.shared.position(index)?),
            None => None,
        };
        self.save(saved, lower)
    }
}
