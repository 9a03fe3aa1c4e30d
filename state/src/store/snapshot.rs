//! Snapshots: one file each, streamed in, checked as a whole, replaced by the next.
//!
//! What they contain is not known here. The newest one is the only one: a damaged snapshot is an
//! error, never a reason to fall back on an older state.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crc32c::{crc32c, crc32c_append};

use super::disk::{Disk, DiskFile};
use super::{DiskFault, Error, Table};

/// The newest format of a snapshot file.
const FORMAT: u32 = 1;
const MAGIC: [u8; 8] = *b"swarmsnp";
/// `magic 8, format u32, metadata length u32, body length u64, body crc u32, head crc u32`.
const HEAD: usize = 32;
/// Metadata is a few ids.
const MAX_META: usize = 1 << 20;
/// Read at once while checking.
const CHUNK: usize = 256 << 10;

/// The snapshots of a node; clones share them.
#[derive(Debug, Clone)]
pub struct SnapshotTable {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// The number of the newest snapshot.
    newest: Arc<Mutex<u64>>,
    fault: DiskFault,
}

impl SnapshotTable {
    /// Opens the folder; unfinished files in it are removed.
    pub(super) fn open(disk: Arc<dyn Disk>, dir: &Path, fault: DiskFault) -> Result<Self, Error> {
        disk.create_dir(dir).map_err(Error::io("make", dir))?;
        let mut numbers = Vec::new();
        for name in disk.list(dir).map_err(Error::io("list", dir))? {
            if let Some(digits) = name.strip_suffix(".snap") {
                numbers.push(u64::from_str_radix(digits, 16).map_err(|_digits| {
                    Error::damaged(
                        Table::Snapshots,
                        &dir.join(&name),
                        0,
                        "this name is not one of a snapshot",
                    )
                })?);
            } else {
                let path = dir.join(name);
                disk.remove(&path).map_err(Error::io("remove", &path))?;
            }
        }
        let newest = numbers.iter().copied().max().unwrap_or(0);
        let newest_kept = Arc::new(Mutex::new(newest));
        let table = Self { disk, dir: dir.to_owned(), newest: newest_kept, fault };
        // The newest one's name is durable before the older ones go.
        table.disk.sync_dir(dir).map_err(Error::io("sync", dir))?;
        for number in numbers.into_iter().filter(|&number| number != newest) {
            table.remove(number);
        }
        Ok(table)
    }

    /// The folder they live in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:016x}.snap"))
    }

    fn remove(&self, number: u64) {
        let path = self.path(number);
        if let Err(error) = self.disk.remove(&path) {
            tracing::warn!(path = %path.display(), %error, "old snapshot not removed");
        }
    }

    /// Whether there is a snapshot.
    pub fn is_empty(&self) -> bool {
        *self.newest.lock().expect("no holder of the number panics") == 0
    }

    /// Begins a snapshot with opaque `meta`; nothing counts before [`SnapshotWriter::finish`].
    ///
    /// # Errors
    /// [`Error::TooLarge`] for metadata over 1 MiB; else from the disk.
    pub fn create(&self, meta: &[u8]) -> Result<SnapshotWriter, Error> {
        self.fault.check()?;
        if meta.len() > MAX_META {
            return Err(Error::TooLarge { size: meta.len(), limit: MAX_META });
        }
        // Two may be under way, one built here and one received: each has its own name.
        static UNFINISHED: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let turn = UNFINISHED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = self.dir.join(format!("{turn:016x}.tmp"));
        let file = self.disk.create(&path).map_err(Error::io("create", &path))?;
        let writer = SnapshotWriter {
            table: self.clone(),
            path,
            file,
            meta: meta.to_vec(),
            length: 0,
            crc: 0,
            done: false,
        };
        writer.file.write_at(to_u64(HEAD), meta).map_err(Error::io("write", &writer.path))?;
        Ok(writer)
    }

    /// Opens the newest snapshot and checks all of it; `None` if there never was one.
    ///
    /// # Errors
    /// [`Error::Damaged`] names the file.
    pub fn latest(&self) -> Result<Option<SnapshotReader>, Error> {
        let newest = self.newest.lock().expect("no holder of the number panics");
        if *newest == 0 {
            return Ok(None);
        }
        let path = self.path(*newest);
        let file = self.disk.open(&path).map_err(Error::io("open", &path))?;
        drop(newest);
        check(path, file).map(Some)
    }
}

/// A snapshot that is being written. Dropped before its end, it never was.
#[derive(Debug)]
pub struct SnapshotWriter {
    table: SnapshotTable,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    meta: Vec<u8>,
    length: u64,
    crc: u32,
    done: bool,
}

impl SnapshotWriter {
    /// Appends to the body.
    ///
    /// # Errors
    /// From the disk; the snapshot is then of no use.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let offset = to_u64(HEAD + self.meta.len()) + self.length;
        self.file.write_at(offset, bytes).map_err(Error::io("write", &self.path))?;
        self.length += to_u64(bytes.len());
        self.crc = crc32c_append(self.crc, bytes);
        Ok(())
    }

    /// Bytes of body so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// CRC32C of the body so far.
    pub fn crc(&self) -> u32 {
        self.crc
    }

    /// Makes it the newest snapshot, durably, and removes the one before. Blocks for some syncs.
    ///
    /// # Errors
    /// From the disk: the snapshot before stays the newest.
    pub fn finish(mut self) -> Result<SnapshotReader, Error> {
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&FORMAT.to_le_bytes());
        let meta_length = u32::try_from(self.meta.len()).expect("checked against MAX_META");
        head.extend_from_slice(&meta_length.to_le_bytes());
        head.extend_from_slice(&self.length.to_le_bytes());
        head.extend_from_slice(&self.crc.to_le_bytes());
        let crc = crc32c_append(crc32c(&head), &self.meta);
        head.extend_from_slice(&crc.to_le_bytes());
        self.file.write_at(0, &head).map_err(Error::io("write", &self.path))?;
        self.table.fault.watch(&self.path, self.file.sync())?;
        let table = self.table.clone();
        let mut newest = table.newest.lock().expect("no holder of the number panics");
        let (old, number) = (*newest, *newest + 1);
        let path = table.path(number);
        table.disk.rename(&self.path, &path).map_err(Error::io("rename", &self.path))?;
        self.done = true;
        table.fault.watch(&table.dir, table.disk.sync_dir(&table.dir))?;
        *newest = number;
        if old > 0 {
            table.remove(old);
        }
        let (file, meta, length, crc) =
            (self.file.clone(), std::mem::take(&mut self.meta), self.length, self.crc);
        Ok(SnapshotReader { path, file, meta, length, crc })
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.done
            && let Err(error) = self.table.disk.remove(&self.path)
        {
            tracing::debug!(%error, "unfinished snapshot left for the next start");
        }
    }
}

/// A complete snapshot. It stays readable after a newer one has replaced it.
#[derive(Debug, Clone)]
pub struct SnapshotReader {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    meta: Vec<u8>,
    length: u64,
    crc: u32,
}

impl SnapshotReader {
    /// What [`SnapshotTable::create`] was given.
    pub fn meta(&self) -> &[u8] {
        &self.meta
    }

    /// Bytes of body.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// CRC32C of the body.
    pub fn crc(&self) -> u32 {
        self.crc
    }

    /// Up to `size` bytes of the body from `offset`; fewer only at its end.
    ///
    /// # Errors
    /// From the disk. The bytes were checked when the snapshot was opened, not again now.
    pub fn read(&self, offset: u64, size: usize) -> Result<Vec<u8>, Error> {
        let left = usize::try_from(self.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; size.min(left)];
        let from = to_u64(HEAD + self.meta.len()) + offset;
        let read = self.file.read_at(from, &mut bytes).map_err(Error::io("read", &self.path))?;
        if read < bytes.len() {
            return Err(Error::damaged(
                Table::Snapshots,
                &self.path,
                from,
                "the file is too short",
            ));
        }
        Ok(bytes)
    }

    /// The whole body, checked again.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it changed since it was opened.
    pub fn read_all(&self) -> Result<Vec<u8>, Error> {
        let bytes = self.read(0, usize::try_from(self.length).unwrap_or(usize::MAX))?;
        if crc32c(&bytes) != self.crc {
            return Err(Error::damaged(
                Table::Snapshots,
                &self.path,
                0,
                "the checksum of its body does not fit",
            ));
        }
        Ok(bytes)
    }
}

/// Reads all of a snapshot once.
fn check(path: PathBuf, file: Arc<dyn DiskFile>) -> Result<SnapshotReader, Error> {
    let mut head = [0; HEAD];
    let read = file.read_at(0, &mut head).map_err(Error::io("read", &path))?;
    if read < HEAD || head[..8] != MAGIC {
        return Err(Error::damaged(
            Table::Snapshots,
            &path,
            0,
            "it does not begin like a snapshot",
        ));
    }
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let length = u64::from(word(16)) | (u64::from(word(20)) << 32);
    let meta_length = usize::try_from(word(12)).unwrap_or(usize::MAX).min(MAX_META);
    let mut meta = vec![0; meta_length];
    let read = file.read_at(to_u64(HEAD), &mut meta).map_err(Error::io("read", &path))?;
    if read < meta.len() || crc32c_append(crc32c(&head[..28]), &meta) != word(28) {
        return Err(Error::damaged(
            Table::Snapshots,
            &path,
            0,
            "the checksum of its head does not fit",
        ));
    }
    if word(8) != FORMAT {
        return Err(Error::OtherFormat { path, found: word(8), known: FORMAT });
    }
    let body = to_u64(HEAD + meta_length);
    let size = file.size().map_err(Error::io("read", &path))?;
    if size != body + length {
        return Err(Error::damaged(Table::Snapshots, &path, size, "its length does not fit"));
    }
    let reader = SnapshotReader { path, file, meta, length, crc: word(24) };
    let (mut crc, mut offset) = (0, 0);
    while offset < length {
        let bytes = reader.read(offset, CHUNK)?;
        crc = crc32c_append(crc, &bytes);
        offset += to_u64(bytes.len());
    }
    if crc != reader.crc {
        return Err(Error::damaged(
            Table::Snapshots,
            &reader.path,
            body,
            "the checksum of its body does not fit",
        ));
    }
    Ok(reader)
}

fn to_u64(size: usize) -> u64 {
    u64::try_from(size).expect("usize fits u64")
}

#[cfg(test)]
mod tests;
