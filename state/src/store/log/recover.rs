//! Reads the log back after a restart and judges its end.
//!
//! A segment's first index outdates the same and later records of older segments, so a cut is one
//! new file. Where records end too early there are three answers: a write whose sync never finished
//! (cut, with a warning), damage, or an old copy (both: refuse). They are told apart by the
//! high-water mark, by what later records know was durable before them, and by the zeros that a
//! cut write leaves.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::cache::Cache;
use super::shared::{self, MAGIC, Mark, Segment, Shared, State};
use super::{LogOptions, Record, to_u64};
use crate::store::disk::Disk;
use crate::store::meta::MetaTable;
use crate::store::record::{HEADER, Header};
use crate::store::segment::{self, End, Found};
use crate::store::{DiskFault, Error, Position, Table};

/// The files of a log by what they are.
struct Files {
    /// In order, each with the index at which its records stop counting.
    live: Vec<(Header, u64)>,
    /// Files whose every record is outdated or purged.
    dead: Vec<u64>,
    /// Files whose header was never written to the end.
    unfinished: Vec<u64>,
    next_epoch: u64,
}

fn sort(disk: &dyn Disk, dir: &Path, start: u64) -> Result<Files, Error> {
    let epochs = segment::epochs(disk, dir, Table::Log)?;
    let next_epoch = epochs.last().map_or(1, |last| last + 1);
    let mut files =
        Files { live: Vec::new(), dead: Vec::new(), unfinished: Vec::new(), next_epoch };
    let mut limit = u64::MAX;
    for &epoch in epochs.iter().rev() {
        match segment::read_header(disk, dir, Table::Log, epoch)? {
            None => files.unfinished.push(epoch),
            Some(header) if header.first >= limit || limit <= start => files.dead.push(epoch),
            Some(header) => {
                files.live.push((header, limit));
                limit = header.first;
            }
        }
    }
    files.live.reverse();
    Ok(files)
}

/// What the walk over all live segments gathers.
struct Recovery<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    start: u64,
    mark: Option<Position>,
    term_at_mark: Option<u64>,
    segments: VecDeque<Segment>,
    cache: Cache,
    last: Option<Position>,
    prev: u32,
    next: u64,
    /// Why the records end before the files do.
    cut: Option<&'static str>,
}

impl Recovery<'_> {
    fn read(&self, epoch: u64) -> Result<Found, Error> {
        Found::read(self.disk, self.dir, Table::Log, epoch)
    }

    fn path(&self, epoch: u64) -> std::path::PathBuf {
        self.dir.join(segment::name(epoch))
    }

    fn walk_all(&mut self, files: &Files) -> Result<(), Error> {
        for (at, &(header, limit)) in files.live.iter().enumerate() {
            let missing =
                if at == 0 { header.first > self.start } else { header.first != self.next };
            if missing {
                let what = format!("the segment with record {} is missing", self.next);
                return Err(Error::damaged(Table::Log, &self.path(header.epoch), 0, what));
            }
            if header.first > self.start && at > 0 && header.prev != self.prev {
                let what = "it does not continue the segment before it";
                return Err(Error::damaged(Table::Log, &self.path(header.epoch), 0, what));
            }
            let found = self.read(header.epoch)?;
            let end = self.walk(&found, &header, limit)?;
            let early = self.next < limit;
            let is_last = at + 1 == files.live.len();
            if early {
                self.judge_end(&found, end, files, at)?;
                if !is_last || self.cut.is_some() {
                    self.cut.get_or_insert("a segment that never became whole");
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Takes over a segment's records; returns where and why they end.
    fn walk(&mut self, found: &Found, header: &Header, limit: u64) -> Result<u64, Error> {
        let (start, mark, cache) = (self.start, self.mark, &mut self.cache);
        let mut term_at_mark = None;
        let walk = found.walk(header, limit, |head, payload| {
            if mark.is_some_and(|mark| mark.index == head.index) {
                term_at_mark = Some(head.term);
            }
            if head.index >= start {
                let payload = Bytes::copy_from_slice(payload);
                cache.push(Record { index: head.index, term: head.term, payload });
            }
        });
        let end = to_u64(walk.offset);
        match walk.end {
            End::Damaged(what) => return Err(Error::damaged(Table::Log, &found.path, end, what)),
            End::Torn(what) => self.cut = Some(what),
            End::Clean => {}
        }
        if let (Some(old), Some(first)) = (self.last, walk.offsets.first())
            && let Some(head) = crate::store::record::decode_head(
                found.bytes.get(usize::try_from(*first).unwrap_or(usize::MAX)..).unwrap_or(&[]),
                found.epoch,
            )
            && head.term < old.term
        {
            return Err(Error::damaged(Table::Log, &found.path, (*first).into(), "the term falls"));
        }
        self.term_at_mark = self.term_at_mark.or(term_at_mark);
        let last = walk.last.map(|head| Position { index: head.index, term: head.term });
        (self.last, self.prev, self.next) = (last.or(self.last), walk.prev, walk.next);
        self.segments.push_back(Segment {
            path: found.path.clone(),
            file: found.file.clone(),
            epoch: found.epoch,
            first: header.first,
            offsets: walk.offsets,
            end,
            zeroed: to_u64(found.bytes.len()),
            dirty: false,
        });
        self.rewrite_unsure(found)?;
        Ok(end)
    }

    /// Writes again what no mark says is durable: after a failed sync and a restart the kernel
    /// reads back bytes that it will never write.
    fn rewrite_unsure(&self, found: &Found) -> Result<(), Error> {
        let segment = self.segments.back().expect("the walk pushed it");
        let sure = self.mark.map_or(0, |mark| mark.index + 1);
        if segment.next() > sure || segment.first >= sure {
            let from = segment.offset(sure.max(segment.first));
            let range = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
            let tail = found.bytes.get(range(from)..range(segment.end)).unwrap_or_default();
            let head = found.bytes.get(..HEADER).unwrap_or_default();
            let file = &found.file;
            file.write_at(0, head).map_err(Error::io("write", &found.path))?;
            file.write_at(from, tail).map_err(Error::io("write", &found.path))?;
            file.sync().map_err(Error::io("sync", &found.path))?;
        }
        Ok(())
    }

    /// Refuses if anything tells that the record after the end was durable.
    fn judge_end(&self, found: &Found, end: u64, files: &Files, at: usize) -> Result<(), Error> {
        let after = usize::try_from(end).unwrap_or(usize::MAX);
        let mut known = found.evidence(after);
        let later = files.live[at + 1..].iter().map(|(header, _)| header.epoch);
        for epoch in later.chain(files.unfinished.iter().copied()) {
            known = known.max(self.read(epoch)?.evidence(HEADER));
        }
        if known > self.next && self.next >= self.start {
            let what = format!("record {} was durable and is not valid any more", self.next);
            return Err(Error::damaged(Table::Log, &found.path, end, what));
        }
        let Some(mark) = self.mark.filter(|mark| mark.index >= self.start) else { return Ok(()) };
        match self.cut {
            Some(what) if mark.index >= self.next => {
                Err(Error::damaged(Table::Log, &found.path, end, what))
            }
            _ => Ok(()),
        }
    }

    /// Compares with the high-water mark.
    fn check_mark(&self) -> Result<(), Error> {
        let Some(mark) = self.mark.filter(|mark| mark.index >= self.start) else { return Ok(()) };
        let found = match self.term_at_mark {
            Some(term) if term == mark.term => return Ok(()),
            Some(term) => format!("record {}", Position { index: mark.index, term }),
            None => {
                self.last.map_or_else(|| "no record".to_owned(), |last| format!("record {last}"))
            }
        };
        let expected = format!("record {mark}");
        Err(Error::RolledBack { table: Table::Log, file: self.dir.to_owned(), expected, found })
    }
}

/// Opens or makes the log in `dir`.
pub(super) fn open(
    disk: Arc<dyn Disk>,
    dir: &Path,
    meta: MetaTable,
    options: LogOptions,
) -> Result<Shared, Error> {
    disk.create_dir(dir).map_err(Error::io("make", dir))?;
    let (purged, mark) = (meta.last_purged()?, meta.high_water()?);
    let start = purged.map_or(0, |purged| purged.index + 1);
    let fault = meta.fault().clone();
    let files = sort(&*disk, dir, start)?;
    let mut found = Recovery {
        disk: &*disk,
        dir,
        start,
        mark,
        term_at_mark: None,
        segments: VecDeque::new(),
        cache: Cache::new(options.cache_bytes),
        last: None,
        prev: 0,
        next: start,
        cut: None,
    };
    found.walk_all(&files)?;
    found.check_mark()?;
    finish(&mut found, &files, options)?;
    let Recovery { segments, mut cache, last, prev, next: end, .. } = found;
    cache.forget(start);
    let state = State { segments, cache, start, end, purged, last, prev, dir_dirty: false };
    Ok(Shared {
        disk,
        dir: dir.to_owned(),
        meta,
        options,
        fault,
        syncing: Mutex::new(Mark { at: mark, durable: true }),
        state: Mutex::new(state),
        durable_end: AtomicU64::new(end),
        written: AtomicU64::new(0),
    })
}

/// Begins a segment where the found ones cannot be continued, and removes what is of no use.
fn finish(found: &mut Recovery<'_>, files: &Files, options: LogOptions) -> Result<(), Error> {
    let (disk, dir) = (found.disk, found.dir);
    if found.next < found.start {
        (found.next, found.prev, found.last, found.cut) = (found.start, 0, None, Some("purged"));
    } else if let Some(what) = found.cut {
        let next = found.next;
        tracing::warn!(dir = %dir.display(), next, what, "un-synced end of the log cut off");
    }
    let kept: Vec<u64> = found.segments.iter().map(|segment| segment.epoch).collect();
    if found.cut.is_some() || found.segments.is_empty() {
        let (first, prev) = (found.next, found.prev);
        let epoch = files.next_epoch;
        let header = Header { magic: MAGIC, epoch, first, durable_end: first, prev };
        let mut segment =
            shared::make(disk, dir, header, options.zero_step, &DiskFault::default())?;
        segment.file.sync().map_err(Error::io("sync", &segment.path))?;
        segment.dirty = false;
        found.segments.push_back(segment);
    }
    disk.sync_dir(dir).map_err(Error::io("sync", dir))?;
    let live = files.live.iter().map(|(header, _)| header.epoch);
    let useless = live.filter(|epoch| !kept.contains(epoch));
    let useless = useless.chain(files.dead.iter().copied()).chain(files.unfinished.iter().copied());
    for epoch in useless {
        let path = dir.join(segment::name(epoch));
        disk.remove(&path).map_err(Error::io("remove", &path))?;
    }
    Ok(())
}
