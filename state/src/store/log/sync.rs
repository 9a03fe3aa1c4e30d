//! Makes the log durable, from any thread, and keeps the high-water mark.
//!
//! One sync serves every record appended before it began. The mark is saved seldom: it costs a
//! sync of its own.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

use super::shared::{Mark, Shared};
use crate::mistake::{Mistake, planted};
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
    pub(super) fn pause(&self) -> Result<MutexGuard<'_, Mark>, Error> {
        let guard = self.shared.syncing.lock().expect("no holder of the sync lock panics");
        self.shared.fault.check()?;
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
    pub(super) fn sync_paused(&self, saved: &mut Mark) -> Result<Option<Position>, Error> {
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
            shared.fault.watch(path, file.sync())?;
        }
        if dir_dirty {
            shared.fault.watch(&shared.dir, shared.disk.sync_dir(&shared.dir))?;
        }
        shared.durable_end.store(end, Ordering::Release);
        // A segment is full: a good time to save the mark, once in some thousand records.
        let noted = if dir_dirty { self.save(saved, last) } else { self.hint(saved, last) };
        if let Err(error) = noted {
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
        if last != saved.at || !saved.durable || self.shared.meta.has_note() {
            return self.save(&mut saved, last);
        }
        Ok(())
    }

    fn save(&self, saved: &mut Mark, mark: Option<Position>) -> Result<(), Error> {
        if planted(Mistake::LoseHighWater) {
            return Ok(());
        }
        // Even if the write fails, it may be found later: a cut must take the higher one back.
        let at = saved.at.max(mark);
        *saved = Mark { at, durable: false };
        self.shared.meta.set_high_water(mark)?;
        *saved = Mark { at: mark, durable: true };
        Ok(())
    }

    /// Writes the mark without a sync, unless records follow that will say the same: whatever is
    /// wrong with the log's end after the process was killed is then known to be damage.
    fn hint(&self, saved: &mut Mark, last: Option<Position>) -> Result<(), Error> {
        let Some(last) = last.filter(|last| Some(*last) != saved.at) else { return Ok(()) };
        if planted(Mistake::LoseHighWater) {
            return Ok(());
        }
        if self.shared.state().end == last.index + 1 {
            // As in `save`.
            *saved = Mark { at: Some(last), durable: false };
            self.shared.meta.hint_high_water(last)?;
        }
        Ok(())
    }

    /// Takes the mark back below `end`, before records from there on are cut off.
    pub(super) fn lower_high_water(&self, saved: &mut Mark, end: u64) -> Result<(), Error> {
        if saved.at.is_none_or(|mark| mark.index < end) {
            return Ok(());
        }
        let lower = match end.checked_sub(1) {
            Some(index) => Some(self.shared.position(index)?),
            None => None,
        };
        self.save(saved, lower)
    }
}
