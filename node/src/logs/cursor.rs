//! Reads one ring from a position on, over rotations, while it is being written.
//!
//! Synchronous; asking again later is the query's work.

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
    pub(super) fn at_start(dir: PathBuf, filter: Filter) -> Self {
        Self {
            dir,
            filter,
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
    pub(super) fn at_tail(dir: PathBuf, filter: Filter, count: usize) -> io::Result<Self> {
        let (mut total, mut skip, mut sequence) = (0, 0, 0);
        for segment in ring::segments(&dir)?.into_iter().rev() {
            total += count_lines(&dir, filter, segment)?;
            sequence = segment.sequence - 1;
            if total >= count {
                skip = total - count;
                break;
            }
        }
        Ok(Self { skip, sequence, ..Self::at_start(dir, filter) })
    }

    /// Appends the next lines to `lines`, at most about a chunk's worth.
    pub(super) fn read(&mut self, lines: &mut VecDeque<LogLine>) -> io::Result<Ahead> {
        if self.source.is_none() {
            let ended = ring::has_ended(&self.dir);
            if !self.open_next()? {
                return Ok(if ended { Ahead::End } else { Ahead::Wait });
            }
        }
        let read = match self.source.as_mut() {
            Some(Source::Plain(file)) => file.read(&mut self.chunk)?,
            // A compressed file that is damaged ends early; what follows it is still good.
            Some(Source::Packed(packed)) => packed.read(&mut self.chunk).unwrap_or(0),
            None => 0,
        };
        if read > 0 {
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

    /// Opens the segment behind this one, or the oldest that is still there.
    fn open_next(&mut self) -> io::Result<bool> {
        for segment in ring::segments(&self.dir)? {
            if segment.sequence <= self.sequence {
                continue;
            }
            if let Some(source) = open(&self.dir, segment)? {
                self.sealed = segment.packed;
                (self.sequence, self.source) = (segment.sequence, Some(source));
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn take(&mut self, mut bytes: &[u8], lines: &mut VecDeque<LogLine>) {
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

fn count_lines(dir: &Path, filter: Filter, segment: Segment) -> io::Result<usize> {
    let Some(source) = open(dir, segment)? else { return Ok(0) };
    let mut cursor = Cursor::at_start(dir.to_owned(), filter);
    // Sealed: its end now is the end of counting.
    (cursor.sequence, cursor.source, cursor.sealed) = (segment.sequence, Some(source), true);
    let (mut lines, mut total) = (VecDeque::new(), 0);
    while cursor.source.is_some() {
        cursor.read(&mut lines)?;
        total += lines.len();
        lines.clear();
    }
    Ok(total)
}
