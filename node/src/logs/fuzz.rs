//! What is read of a task's log ring, for the fuzz driver.

use std::collections::VecDeque;
use std::path::PathBuf;

use bytes::Bytes;
use swarm_model::fuzz::Target;
use swarm_model::id::TaskId;
use swarm_model::units::Timestamp;

use super::cursor::{Cursor, Filter};
use super::line::{self, LogLine, LogStream};
use super::ring::Segment;
use crate::api::backend::TaskLine;

/// The name of a segment, a line feed, then its bytes.
pub(crate) const RING: Target = Target::new("node.log-ring", ring, || {
    let mut bytes = b"00000001.log\n".to_vec();
    for (stream, partial) in [(LogStream::Stdout, false), (LogStream::Stderr, true)] {
        line::encode_head(&mut bytes, b"2026-01-31T12:00:00.123Z", stream, partial);
        bytes.extend(b"hello\n");
    }
    vec![bytes, b"00000003.log.gz\nx\n".to_vec()]
});

/// What another node answers.
pub(crate) fn lines() -> Result<Vec<TaskLine>, String> {
    let at = Timestamp::from_millis(1_769_860_800_123);
    let text = Bytes::from_static(b"hello");
    let line = LogLine { at, stream: LogStream::Stderr, partial: true, text };
    Ok(vec![TaskLine { task: TaskId::from_raw(3), line }])
}

fn ring(bytes: &[u8]) -> bool {
    let feed = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (name, rest) = bytes.split_at(feed);
    if let Some(segment) = std::str::from_utf8(name).ok().and_then(Segment::parse) {
        let _before = segment.before();
    }
    let mut cursor = Cursor::at_start(PathBuf::new(), Filter::default(), None);
    let mut lines = VecDeque::new();
    // Chunks end anywhere.
    for chunk in rest.get(1..).unwrap_or_default().chunks(1 + feed % 64) {
        cursor.take(chunk, &mut lines);
    }
    !lines.is_empty()
}
