//! Reads one ring from a position on, over rotations, while it is being written.
//!
//! Synchronous; asking again later is the query's work.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use swarm_model::units::Timestamp;

use super::line::{self, LogLine, MAX_LINE};
use super::ring::{self, Segment};

/// Bytes read at once.
const CHUNK: usize = 64 * 1024;
/// No record is longer: stamp, stream and tag take less than 64 bytes.
const MAX_RECORD: usize = MAX_LINE + 64;

/// Which lines count.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Filter {
    pub(super) since: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
}

impl Filter {
    fn admits(self, line: &LogLine) -> bool {
        self.since.is_none_or(|since| line.at >= since)
            && self.until.is_none_or(|until| line.at <= until)
    }
}

/// A place behind which a cursor does not read.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    /// The last segment that counts.
    sequence: u64,
    /// Bytes of it (not compressed) that count.
    length: u64,
}

impl End {
    /// The end of what is in the ring now.
    pub(super) fn of(dir: &Path) -> io::Result<Self> {
        let Some(newest) = ring::segments(dir)?.last().copied() else {
            return Ok(Self { sequence: 0, length: 0 });
        };
        let length = match std::fs::metadata(newest.path(dir)) {
            Ok(found) if !newest.packed => found.len(),
            // Complete: all of it counts.
            Ok(_) => u64::MAX,
            Err(error) if error.kind() == io::ErrorKind::NotFound => u64::MAX,
            Err(error) => return Err(error),
        };
        Ok(Self { sequence: newest.sequence, length })
    }
}

/// What is behind the lines that a call gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ahead {
    /// Perhaps more: call again.
    More,
    /// Nothing yet: call again later.
    Wait,
    /// Nothing ever.
    End,
}

enum Source {
    Plain(File),
    Packed(Box<GzDecoder<File>>),
}

/// A place in a ring.
pub(super) struct Cursor {
    dir: PathBuf,
    filter: Filter,
    /// Where to stop, when not at what is written meanwhile.
    end: Option<End>,
    /// Bytes read of the segment.
    offset: u64,
    /// Matching lines still to be passed over.
    skip: usize,
    /// The segment being read, or the last one read.
    sequence: u64,
    source: Option<Source>,
    /// Whether nothing more is written to `source`: its next end is final.
    sealed: bool,
    /// A record whose end was not read yet.
    rest: Vec<u8>,
    /// Whether the record in `rest` is damaged: pass over it up to the next line feed.
    damaged: bool,
    chunk: Vec<u8>,
}

impl Cursor {
    /// At the ring's oldest line.
    pub(super) fn at_start(dir: PathBuf, filter: Filter, end: Option<End>) -> Self {
        Self {
            dir,
            filter,
            end,
            offset: 0,
            skip: 0,
            sequence: 0,
            source: None,
            sealed: false,
            rest: Vec::new(),
            damaged: false,
            chunk: vec![0; CHUNK],
        }
    }

    /// Before the last `count` lines that `filter` admits. Counts first, so that memory does not
    /// grow with `count`.
    pub(super) fn at_tail(
        dir: PathBuf,
        filter: Filter,
        count: usize,
        end: Option<End>,
    ) -> io::Result<Self> {
        let (mut total, mut skip, mut sequence) = (0, 0, 0);
        let counts = |segment: &Segment| end.is_none_or(|end| segment.sequence <= end.sequence);
        for segment in ring::segments(&dir)?.into_iter().rev().filter(counts) {
            total += count_lines(&dir, filter, segment, end)?;
            sequence = segment.before();
            if total >= count {
                skip = total - count;
                break;
            }
        }
        Ok(Self { skip, sequence, ..Self::at_start(dir, filter, end) })
    }

    /// Appends the next lines to `lines`, at most about a chunk's worth.
    pub(super) fn read(&mut self, lines: &mut VecDeque<LogLine>) -> io::Result<Ahead> {
        let left = self.left();
        if left == 0 {
            return Ok(Ahead::End);
        }
        if self.source.is_none() {
            let ended = ring::has_ended(&self.dir);
            if !self.open_next()? {
                return Ok(if ended { Ahead::End } else { Ahead::Wait });
            }
        }
        let most = usize::try_from(self.left()).unwrap_or(usize::MAX).min(self.chunk.len());
        let chunk = &mut self.chunk[..most];
        let read = match self.source.as_mut() {
            Some(Source::Plain(file)) => file.read(chunk)?,
            // A compressed file that is damaged ends early; what follows it is still good.
            Some(Source::Packed(packed)) => packed.read(chunk).unwrap_or(0),
            None => 0,
        };
        if read > 0 {
            self.offset += u64::try_from(read).unwrap_or(u64::MAX);
            let chunk = std::mem::take(&mut self.chunk);
            self.take(&chunk[..read], lines);
            self.chunk = chunk;
            return Ok(Ahead::More);
        }
        if self.sealed {
            // What has no end now never gets one.
            (self.source, self.sealed, self.damaged) = (None, false, false);
            self.rest.clear();
            return Ok(Ahead::More);
        }
        // Once it is known to be complete it has to be read to the end once more.
        let newest = ring::segments(&self.dir)?.last().map_or(0, |newest| newest.sequence);
        self.sealed = newest > self.sequence || ring::has_ended(&self.dir);
        Ok(if self.sealed { Ahead::More } else { Ahead::Wait })
    }

    /// Bytes of the segment that still count; 0 at the end of all that does.
    fn left(&self) -> u64 {
        match self.end {
            None => u64::MAX,
            Some(end) => match self.sequence.cmp(&end.sequence) {
                Ordering::Less => u64::MAX,
                // Read to its end, and let go.
                Ordering::Equal if self.source.is_none() => 0,
                Ordering::Equal => end.length.saturating_sub(self.offset),
                Ordering::Greater => 0,
            },
        }
    }

    /// Opens the segment behind this one, or the oldest that is still there.
    fn open_next(&mut self) -> io::Result<bool> {
        for segment in ring::segments(&self.dir)? {
            if segment.sequence <= self.sequence {
                continue;
            }
            if let Some(source) = open(&self.dir, segment)? {
                self.sealed = segment.packed;
                (self.sequence, self.source) = (segment.sequence, Some(source));
                self.offset = 0;
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn take(&mut self, mut bytes: &[u8], lines: &mut VecDeque<LogLine>) {
        while let Some(feed) = bytes.iter().position(|byte| *byte == b'\n') {
            let (record, behind) = (&bytes[..feed], &bytes[feed + 1..]);
            if self.rest.is_empty() && !self.damaged {
                self.accept(line::decode(record), lines);
            } else {
                let mut whole = std::mem::take(&mut self.rest);
                whole.extend_from_slice(record);
                if !std::mem::take(&mut self.damaged) {
                    self.accept(line::decode(&whole), lines);
                }
                whole.clear();
                self.rest = whole;
            }
            bytes = behind;
        }
        self.rest.extend_from_slice(bytes);
        if self.rest.len() > MAX_RECORD {
            self.rest.clear();
            self.damaged = true;
        }
    }

    fn accept(&mut self, line: Option<LogLine>, lines: &mut VecDeque<LogLine>) {
        match line {
            Some(line) if self.filter.admits(&line) => match self.skip {
                0 => lines.push_back(line),
                _ => self.skip -= 1,
            },
            Some(_) | None => {}
        }
    }
}

/// `None` when it was compressed or removed in between.
fn open(dir: &Path, segment: Segment) -> io::Result<Option<Source>> {
    for packed in [segment.packed, true] {
        match File::open(Segment { packed, ..segment }.path(dir)) {
            Ok(file) if packed => return Ok(Some(Source::Packed(Box::new(GzDecoder::new(file))))),
            Ok(file) => return Ok(Some(Source::Plain(file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn count_lines(
    dir: &Path,
    filter: Filter,
    segment: Segment,
    end: Option<End>,
) -> io::Result<usize> {
    let Some(source) = open(dir, segment)? else { return Ok(0) };
    let mut cursor = Cursor::at_start(dir.to_owned(), filter, end);
    // Sealed: its end now is the end of counting.
    (cursor.sequence, cursor.source, cursor.sealed) = (segment.sequence, Some(source), true);
    let (mut lines, mut total) = (VecDeque::new(), 0);
    while cursor.source.is_some() {
        let ahead = cursor.read(&mut lines)?;
        total += lines.len();
        lines.clear();
        if ahead == Ahead::End {
            break;
        }
    }
    Ok(total)
}
