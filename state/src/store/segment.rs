//! One append-only file of records: made, read back, and judged after a crash.
//!
//! Knows nothing of what follows from a torn or damaged file; the log and the journal decide.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, DiskFile};
use super::record::{self, HEADER, Head, Header, HeaderBytes, Stored};
use super::{Error, Table};

/// How a file's records end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Only zeros follow, or the limit was reached.
    Clean,
    /// A write was cut short here.
    Torn(&'static str),
    /// Bytes that were completely written do not fit.
    Damaged(&'static str),
}

/// What a walk over a file's records found.
#[derive(Debug)]
pub(crate) struct Walk {
    /// Offset of each record.
    pub(crate) offsets: Vec<u32>,
    /// The last record.
    pub(crate) last: Option<Head>,
    /// Where the next record would stand.
    pub(crate) offset: usize,
    /// The index that comes next.
    pub(crate) next: u64,
    /// Checksum of the last record, or the header's.
    pub(crate) prev: u32,
    /// Why the walk stopped.
    pub(crate) end: End,
}

/// The first bytes of a table's files.
pub(crate) fn magic(table: Table) -> [u8; 8] {
    match table {
        Table::Log => *b"swarmlog",
        Table::Votes | Table::Snapshots => *b"swarm-kv",
        Table::Agent => *b"swarmagt",
    }
}

/// The name of the file with this epoch.
pub(crate) fn name(epoch: u64) -> String {
    format!("{epoch:016x}.seg")
}

/// The epochs of the files in `dir`, ascending.
pub(crate) fn epochs(disk: &dyn Disk, dir: &Path, table: Table) -> Result<Vec<u64>, Error> {
    let names = disk.list(dir).map_err(Error::io("list", dir))?;
    let mut epochs = Vec::new();
    for name in names {
        if let Some(digits) = name.strip_suffix(".seg") {
            let epoch = u64::from_str_radix(digits, 16).map_err(|_digits| {
                Error::damaged(table, &dir.join(&name), 0, "this name is not one of a segment")
            })?;
            epochs.push(epoch);
        }
    }
    epochs.sort_unstable();
    Ok(epochs)
}

/// A file of records with all its bytes, as it was found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) epoch: u64,
    /// `None`: the header was never written to the end.
    pub(crate) header: Option<Header>,
}

/// Reads only the header of the file of `epoch` in `dir`; `None` if it was not written to the end.
pub(crate) fn read_header(
    disk: &dyn Disk,
    dir: &Path,
    table: Table,
    epoch: u64,
) -> Result<Option<Header>, Error> {
    let path = dir.join(name(epoch));
    let file = disk.open(&path).map_err(Error::io("open", &path))?;
    let mut bytes = [0; HEADER];
    let read = file.read_at(0, &mut bytes).map_err(Error::io("read", &path))?;
    judge(Header::decode(&bytes[..read], magic(table), epoch), table, &path)
}

fn judge(header: HeaderBytes, table: Table, path: &Path) -> Result<Option<Header>, Error> {
    match header {
        HeaderBytes::Valid(header) => Ok(Some(header)),
        HeaderBytes::Torn => Ok(None),
        HeaderBytes::OtherFormat(found) => {
            Err(Error::OtherFormat { path: path.to_owned(), found, known: record::FORMAT })
        }
        HeaderBytes::Damaged(what) => Err(Error::damaged(table, path, 0, what)),
    }
}

impl Found {
    /// Reads the file of `epoch` in `dir`.
    pub(crate) fn read(
        disk: &dyn Disk,
        dir: &Path,
        table: Table,
        epoch: u64,
    ) -> Result<Self, Error> {
        let path = dir.join(name(epoch));
        let file = disk.open(&path).map_err(Error::io("open", &path))?;
        let bytes = super::disk::read_all(&*file).map_err(Error::io("read", &path))?;
        let header = judge(Header::decode(&bytes, magic(table), epoch), table, &path)?;
        Ok(Self { path, file, bytes, epoch, header })
    }

    /// Walks the records below `limit`, checking each and that it follows the one before.
    pub(crate) fn walk(
        &self,
        header: &Header,
        limit: u64,
        mut each: impl FnMut(Head, &[u8]),
    ) -> Walk {
        let mut walk = Walk {
            offsets: Vec::new(),
            last: None,
            offset: HEADER,
            next: header.first,
            prev: header.prev,
            end: End::Clean,
        };
        while walk.next < limit {
            let head = match record::decode(&self.bytes, walk.offset, self.epoch) {
                Stored::Record(head) => head,
                Stored::Nothing => {
                    if self.bytes.iter().skip(walk.offset).any(|&byte| byte != 0) {
                        walk.end = End::Torn("zeros before bytes of an unfinished write");
                    }
                    return walk;
                }
                Stored::Torn => {
                    walk.end = End::Torn("an unfinished write");
                    return walk;
                }
                Stored::Damaged(what) => {
                    walk.end = End::Damaged(what);
                    return walk;
                }
            };
            let follows = head.index == walk.next && head.prev == walk.prev;
            if !follows || walk.last.is_some_and(|last| last.term > head.term) {
                walk.end = End::Damaged("a record does not follow the one before it");
                return walk;
            }
            let payload = walk.offset + record::HEAD;
            each(head, &self.bytes[payload..payload + head.length]);
            walk.offsets.push(u32::try_from(walk.offset).unwrap_or(u32::MAX));
            walk.offset += head.size();
            walk.next += 1;
            walk.prev = head.crc;
            walk.last = Some(head);
        }
        walk
    }

    /// The highest index below which something in this file says that all was durable.
    pub(crate) fn evidence(&self, from: usize) -> u64 {
        let header = self.header.map_or(0, |header| header.durable_end);
        header.max(record::evidence(&self.bytes, from, self.epoch))
    }
}

/// Writes `bytes` at `offset`, followed by zeros up to the next step if the file ends before that.
///
/// Later writes then change no length, so that a sync need not write the file system's journal,
/// and a torn write shows as zeros. Returns the file's new length.
pub(crate) fn write_zeroed(
    file: &dyn DiskFile,
    offset: u64,
    mut bytes: Vec<u8>,
    zeroed: u64,
    step: u64,
) -> std::io::Result<u64> {
    let end = offset + u64::try_from(bytes.len()).map_err(std::io::Error::other)?;
    // One byte more than the records: their end is always a zero byte, never the file's end.
    let target = if end < zeroed { zeroed } else { (end + 1).next_multiple_of(step) };
    if target > zeroed {
        let length = usize::try_from(target - offset).map_err(std::io::Error::other)?;
        bytes.resize(length, 0);
    }
    file.write_at(offset, &bytes)?;
    Ok(target)
}
