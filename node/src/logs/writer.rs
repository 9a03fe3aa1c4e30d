//! Writes one task's output into its ring: cuts it into lines, stamps them, rotates and compresses.
//!
//! Synchronous, for the supervisor. Never loses a line unless the disk refuses it, then counts;
//! being slow is how it holds a task back that writes too much. Nothing is fsynced but compressed
//! files: a power cut may cost the last lines.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use swarm_model::clock::Clock;
use swarm_model::units::Timestamp;

use super::line::{self, LogLimits, LogStream, MAX_LINE};
use super::ring::{self, Segment};

/// Records waiting to be written are written at this size at the latest.
const BATCH: usize = 256 * 1024;
/// The smallest file that is worth rotating.
const MIN_FILE: u64 = 128 * 1024;

/// The writing end of one task's ring.
#[derive(Debug)]
pub struct LogWriter {
    dir: PathBuf,
    max_file: u64,
    max_files: u64,
    clock: Arc<dyn Clock>,
    sequence: u64,
    file: File,
    /// Bytes in `file`.
    size: u64,
    /// The start of a line whose end was not read yet, per stream.
    unfinished: [Vec<u8>; 2],
    /// Encoded records, and how many.
    batch: Vec<u8>,
    batch_lines: u64,
    stamp: (Timestamp, Vec<u8>),
    /// Lines that the disk refused since the last one that it took.
    lost: u64,
    /// Whether the file ends within a record.
    torn: bool,
}

impl LogWriter {
    /// Begins a new file in `dir` behind what is there from earlier.
    ///
    /// # Errors
    /// When the directory or the file cannot be made.
    pub fn open(dir: PathBuf, limits: LogLimits, clock: Arc<dyn Clock>) -> io::Result<Self> {
        fs::create_dir_all(&dir)?;
        ring::clear_end(&dir)?;
        let sequence = ring::segments(&dir)?.last().map_or(1, |newest| newest.sequence + 1);
        let file = create(&dir, sequence)?;
        let now = clock.now();
        let writer = Self {
            max_file: limits.max_file.0.max(MIN_FILE),
            max_files: u64::from(limits.max_files.max(1)),
            clock,
            sequence,
            file,
            size: 0,
            unfinished: [Vec::new(), Vec::new()],
            batch: Vec::new(),
            batch_lines: 0,
            stamp: (now, now.to_string().into_bytes()),
            lost: 0,
            torn: false,
            dir,
        };
        writer.prune();
        Ok(writer)
    }

    /// Takes bytes as they were read. They are on disk after the next [`Self::flush`], except for
    /// the start of a line that is not complete.
    pub fn push(&mut self, stream: LogStream, mut bytes: &[u8]) {
        self.restamp();
        let unfinished = stream as usize;
        while let Some(feed) = bytes.iter().position(|byte| *byte == b'\n') {
            let mut start = std::mem::take(&mut self.unfinished[unfinished]);
            let (rest, behind) = (&bytes[..feed], &bytes[feed + 1..]);
            if start.is_empty() {
                self.record_line(stream, rest);
            } else {
                start.extend_from_slice(rest);
                self.record_line(stream, &start);
                start.clear();
                self.unfinished[unfinished] = start;
            }
            bytes = behind;
        }
        let mut start = std::mem::take(&mut self.unfinished[unfinished]);
        start.extend_from_slice(bytes);
        while start.len() > MAX_LINE {
            self.record(stream, true, &start[..MAX_LINE]);
            start.drain(..MAX_LINE);
        }
        self.unfinished[unfinished] = start;
    }

    /// Hands everything complete to the system, so that followers see it.
    pub fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        if self.size > 0 && self.size + self.batch.len() as u64 > self.max_file {
            self.rotate();
        }
        if self.torn {
            self.batch.insert(0, b'\n');
        }
        match write_counted(&mut self.file, &self.batch) {
            Ok(()) => {
                self.size += self.batch.len() as u64;
                (self.torn, self.lost) = (false, 0);
            }
            Err((written, _refused)) => {
                self.size += written as u64;
                self.torn |= written > 0;
                self.lost += self.batch_lines;
            }
        }
        self.batch.clear();
        self.batch_lines = 0;
        if self.lost > 0 {
            let note = format!("[swarm] {} lines lost: the node's disk refused them", self.lost);
            line::encode_head(&mut self.batch, &self.stamp.1, LogStream::Stderr, false);
            self.batch.extend_from_slice(note.as_bytes());
            self.batch.push(b'\n');
        }
    }

    /// Writes lines without an end too, and tells followers that nothing more comes.
    pub fn finish(mut self) {
        self.restamp();
        for stream in [LogStream::Stdout, LogStream::Stderr] {
            let rest = std::mem::take(&mut self.unfinished[stream as usize]);
            if !rest.is_empty() {
                self.record_line(stream, &rest);
            }
        }
        self.flush();
        // A follower that misses the mark ends with its client.
        ring::mark_end(&self.dir).ok();
    }

    fn restamp(&mut self) {
        let now = self.clock.now();
        if now != self.stamp.0 {
            self.stamp = (now, now.to_string().into_bytes());
        }
    }

    fn record_line(&mut self, stream: LogStream, mut text: &[u8]) {
        while text.len() > MAX_LINE {
            self.record(stream, true, &text[..MAX_LINE]);
            text = &text[MAX_LINE..];
        }
        self.record(stream, false, text);
    }

    fn record(&mut self, stream: LogStream, partial: bool, text: &[u8]) {
        line::encode_head(&mut self.batch, &self.stamp.1, stream, partial);
        self.batch.extend_from_slice(text);
        self.batch.push(b'\n');
        self.batch_lines += 1;
        if self.batch.len() >= BATCH {
            self.flush();
        }
    }

    /// Begins the next file and compresses this one. When the disk does not even take the new file,
    /// this one goes on; when it does not take the compressed form, the plain one stays.
    fn rotate(&mut self) {
        let old = Segment { sequence: self.sequence, packed: false };
        if self.max_files > 1 {
            self.pack(old).ok();
        }
        match create(&self.dir, self.sequence + 1) {
            Ok(file) => {
                (self.file, self.size, self.torn) = (file, 0, false);
                self.sequence += 1;
            }
            Err(_refused) => return,
        }
        if (Segment { packed: true, ..old }).path(&self.dir).exists() {
            fs::remove_file(old.path(&self.dir)).ok();
        }
        self.prune();
    }

    fn pack(&self, segment: Segment) -> io::Result<()> {
        let target = Segment { packed: true, ..segment }.path(&self.dir);
        let temporary = self.dir.join("packing");
        let packed = || -> io::Result<()> {
            let mut to = GzEncoder::new(File::create(&temporary)?, Compression::fast());
            io::copy(&mut File::open(segment.path(&self.dir))?, &mut to)?;
            to.finish()?.sync_data()?;
            fs::rename(&temporary, &target)
        };
        packed().inspect_err(|_refused| {
            fs::remove_file(&temporary).ok();
        })
    }

    fn prune(&self) {
        let keep_from = (self.sequence + 1).saturating_sub(self.max_files);
        for segment in ring::segments(&self.dir).unwrap_or_default() {
            if segment.sequence < keep_from {
                for packed in [false, true] {
                    fs::remove_file(Segment { packed, ..segment }.path(&self.dir)).ok();
                }
            }
        }
    }
}

fn create(dir: &std::path::Path, sequence: u64) -> io::Result<File> {
    let path = Segment { sequence, packed: false }.path(dir);
    OpenOptions::new().append(true).create(true).open(path)
}

/// `write_all` that says how much went in before it failed.
fn write_counted(file: &mut File, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fixed;

    impl Clock for Fixed {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(0)
        }
    }

    #[test]
    fn lines_that_a_full_disk_refuses_are_counted_and_the_log_goes_on() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("ring");
        let mut writer =
            LogWriter::open(dir.clone(), LogLimits::default(), Arc::new(Fixed)).unwrap();
        let write = |writer: &mut LogWriter, text: &str| {
            writer.push(LogStream::Stdout, text.as_bytes());
            writer.flush();
        };
        write(&mut writer, "before\n");
        let good = std::mem::replace(
            &mut writer.file,
            OpenOptions::new().write(true).open("/dev/full").unwrap(),
        );
        write(&mut writer, "lost\nlost too\n");
        write(&mut writer, "and this\n");
        writer.file = good;
        write(&mut writer, "after\n");
        write(&mut writer, "later\n");
        let text = fs::read_to_string(dir.join("00000001.log")).unwrap();
        let lines: Vec<&str> = text.lines().map(|line| line.split_once(" F ").unwrap().1).collect();
        let note = "[swarm] 3 lines lost: the node's disk refused them";
        assert_eq!(lines, ["before", note, "after", "later"]);
    }
}
