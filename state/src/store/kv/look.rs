//! A map that was read and not changed yet: for whoever must decide first whether it may be used.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use super::file::{self, FoundJournal, Journal};
use super::{COMPACT_FACTOR, COMPACT_FLOOR, Inner, Kv, Map, Shared, batch};
use crate::store::disk::Disk;
use crate::store::{DiskFault, Error, Table};

/// What is in a map's folder.
#[derive(Debug)]
pub(in crate::store) struct Looked {
    disk: Arc<dyn Disk>,
    pub(in crate::store) dir: PathBuf,
    pub(in crate::store) table: Table,
    pub(in crate::store) map: Map,
    found: Option<FoundJournal>,
}

impl Looked {
    /// Reads the newest journal.
    pub(super) fn read(disk: Arc<dyn Disk>, dir: &Path, table: Table) -> Result<Self, Error> {
        disk.create_dir(dir).map_err(Error::io("make", dir))?;
        let found = file::read(&*disk, dir, table)?;
        let mut map = Map::new();
        if let Some(found) = &found {
            batch::replay(found, table, &mut map)?;
        }
        Ok(Self { disk, dir: dir.to_owned(), table, map, found })
    }

    /// Makes it durable, and goes on from there.
    pub(in crate::store) fn open(self, fault: DiskFault) -> Result<Kv, Error> {
        let Self { disk, dir, table, map, found } = self;
        let fresh = found.is_none();
        let epoch = found.as_ref().map_or(1, |found| found.epoch + 1);
        let journal = match found {
            Some(found) => found.secure(&*disk, &dir)?,
            None => None,
        };
        let journal = match journal {
            Some(journal) => journal,
            None => Journal::write(&*disk, (&dir, table), epoch, &map, &fault)?,
        };
        // Whatever is older goes only now that this one is durable.
        file::remove_others(&*disk, &dir, &journal)?;
        let live = map.iter().map(|(key, value)| batch::weight(key, value)).sum();
        let compact_at = COMPACT_FLOOR.max(live * COMPACT_FACTOR);
        let inner = Mutex::new(Inner { map, live, journal, compact_at });
        let (syncing, partner) = (Mutex::new(()), OnceLock::new());
        Ok(Kv(Arc::new(Shared { disk, dir, table, syncing, inner, fault, fresh, partner })))
    }
}
