//! One line of output, and its form on disk.
//!
//! The form is the one of the Kubernetes CRI (`2026-01-31T12:00:00.000Z stdout F text`), so that
//! `cat` and `zcat` help on a node where nothing else works.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use swarm_model::units::{self, Timestamp};

/// Longer lines are split into parts of this many bytes.
pub const MAX_LINE: usize = 64 * 1024;

/// How much of one task's output is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLimits {
    /// Size at which a file is compressed and a new one begun; at least 128 KiB.
    pub max_file: units::Bytes,
    /// Files kept, the one being written included; at least 1.
    pub max_files: u32,
}

impl Default for LogLimits {
    fn default() -> Self {
        Self { max_file: units::Bytes(10 << 20), max_files: 3 }
    }
}

/// Where a line was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line (or a part of a very long one) that a task wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When the supervisor read it.
    pub at: Timestamp,
    /// Where it was written.
    pub stream: LogStream,
    /// Whether the line goes on in the next record of the same stream.
    pub partial: bool,
    /// Its bytes without the line feed; not always UTF-8.
    pub text: Bytes,
}

/// Appends the record's head; the text and a line feed follow it.
pub(super) fn encode_head(out: &mut Vec<u8>, stamp: &[u8], stream: LogStream, partial: bool) {
    out.extend_from_slice(stamp);
    out.extend_from_slice(match (stream, partial) {
        (LogStream::Stdout, false) => b" stdout F ",
        (LogStream::Stdout, true) => b" stdout P ",
        (LogStream::Stderr, false) => b" stderr F ",
        (LogStream::Stderr, true) => b" stderr P ",
    });
}

/// Reads one record without its line feed; `None` when it is damaged.
pub(super) fn decode(record: &[u8]) -> Option<LogLine> {
    let (stamp, rest) = split_word(record)?;
    let (stream, rest) = split_word(rest)?;
    let (tag, text) = split_word(rest)?;
    let stream = match stream {
        b"stdout" => LogStream::Stdout,
        b"stderr" => LogStream::Stderr,
        _ => return None,
    };
    let partial = match tag {
        b"F" => false,
        b"P" => true,
        _ => return None,
    };
    let at = Timestamp::parse_rfc3339(std::str::from_utf8(stamp).ok()?).ok()?;
    Some(LogLine { at, stream, partial, text: Bytes::copy_from_slice(text) })
}

fn split_word(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    Some((&bytes[..space], &bytes[space + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_form_on_disk_never_changes() {
        let mut out = Vec::new();
        let at = Timestamp::from_millis(1_769_860_800_123);
        encode_head(&mut out, at.to_string().as_bytes(), LogStream::Stderr, true);
        out.extend_from_slice(b"a b");
        assert_eq!(out, b"2026-01-31T12:00:00.123Z stderr P a b");
    }

    proptest! {
        #[test]
        fn records_round_trip(
            millis in 0u64..253_402_300_799_000,
            stderr: bool,
            partial: bool,
            text in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let stream = if stderr { LogStream::Stderr } else { LogStream::Stdout };
            let line = LogLine { at: Timestamp::from_millis(millis), stream, partial, text: text.into() };
            let mut out = Vec::new();
            encode_head(&mut out, line.at.to_string().as_bytes(), stream, partial);
            out.extend_from_slice(&line.text);
            prop_assert_eq!(decode(&out), Some(line));
        }

        #[test]
        fn damaged_records_are_refused_not_trusted(bytes: Vec<u8>) {
            let _none_or_line = decode(&bytes);
        }
    }
}
