//! Moves lost tables away, so that a node can begin again without them. Keeps one copy.
//!
//! Decides nothing: whoever calls knows why, and has noted it durably, for a replica that begins
//! again has forgotten its votes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, RealDisk};
use super::harm::Harm;
use super::kv::{self, Kv};
use super::{Error, FOLDER, Store, Table, migrate, turn};

/// The folders of what Raft owns; the map first, for without it the others are refused.
const REPLICA: [&str; 3] = ["kv", "log", "snapshots"];

impl Store {
    /// Moves the table `lost`, and all that is lost with it ([`Table::harm`]), into
    /// `store/replica.damaged` or `store/agent.damaged`, in place of what was kept there before.
    /// An empty table takes its place. Repeats safely after a crash. Returns the folder.
    ///
    /// A node without its replica may neither vote nor campaign before its peers have taken it in
    /// anew: note that durably *before* calling this.
    ///
    /// # Errors
    /// [`Error::InUse`], or from the disk: to be repeated.
    pub fn set_aside(dir: &Path, lost: Table) -> Result<PathBuf, Error> {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::locked(dir)?);
        Self::set_aside_on(&disk, dir, lost)
    }

    /// As [`Store::set_aside`], on any disk and without a lock.
    ///
    /// # Errors
    /// From the disk.
    pub fn set_aside_on(disk: &Arc<dyn Disk>, dir: &Path, lost: Table) -> Result<PathBuf, Error> {
        let folder = dir.join(FOLDER);
        let replica = lost.harm() == Harm::Replica;
        let (kept, other) = match replica {
            true => (folder.join("replica.damaged"), (Table::Agent, folder.join("agent"))),
            false => (folder.join("agent.damaged"), (Table::Votes, folder.join("kv"))),
        };
        let (turn, count) = known_to(disk, &other.1, other.0)?;
        let names: &[&str] = if replica { &REPLICA } else { &["agent"] };
        let begun = names.first().is_some_and(|first| is_empty(&**disk, &folder.join(first)));
        for name in names {
            move_files(&**disk, &folder.join(name), &kept.join(name), !begun)?;
        }
        let (table, mut writes) = match replica {
            true => (Table::Votes, vec![migrate::format()]),
            false => (Table::Agent, Vec::new()),
        };
        if turn > 0 {
            writes.extend([turn::write(table, turn), kv::count_write(count)]);
        }
        let map = folder.join(if replica { "kv" } else { "agent" });
        Kv::create(disk.clone(), &map, table, &writes)?;
        tracing::warn!(table = %table, kept = %kept.display(), "damaged tables set aside");
        Ok(kept)
    }
}

/// The turn, and the writes of the lost map, that the other one knows; 0 if it is lost, too.
fn known_to(disk: &Arc<dyn Disk>, dir: &Path, table: Table) -> Result<(u64, u64), Error> {
    if is_empty(&**disk, dir) {
        return Ok((0, 0));
    }
    let found = Kv::look(disk.clone(), dir, table)
        .and_then(|map| Ok((turn::read(&map)?, kv::partner_of(&map.map))));
    match found {
        Err(error) if matches!(error.harm(), Harm::Replica | Harm::Agent) => Ok((0, 0)),
        found => found,
    }
}

fn is_empty(disk: &dyn Disk, dir: &Path) -> bool {
    disk.list(dir).is_ok_and(|names| names.is_empty())
}

/// Moves every file of `from` to `to`, which is emptied before if `clear`.
fn move_files(disk: &dyn Disk, from: &Path, to: &Path, clear: bool) -> Result<(), Error> {
    disk.create_dir(to).map_err(Error::io("make", to))?;
    if clear {
        for name in disk.list(to).map_err(Error::io("list", to))? {
            let path = to.join(name);
            disk.remove(&path).map_err(Error::io("remove", &path))?;
        }
    }
    for name in disk.list(from).map_err(Error::io("list", from))? {
        let path = from.join(&name);
        disk.rename(&path, &to.join(&name)).map_err(Error::io("rename", &path))?;
    }
    for dir in [to, from] {
        if disk.create_dir(dir).is_ok() {
            disk.sync_dir(dir).map_err(Error::io("sync", dir))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
