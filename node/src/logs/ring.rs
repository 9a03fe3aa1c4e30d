//! The files of one task's ring: `<sequence>.log` while written, `<sequence>.log.gz` afterwards,
//! and an `end` mark once the task has ended.
//!
//! Names only; what is inside is the writer's and the cursor's.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// One file of the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    /// Counts up from 1.
    pub(super) sequence: u64,
    /// Whether it is compressed (and complete).
    pub(super) packed: bool,
}

impl Segment {
    pub(super) fn path(self, dir: &Path) -> PathBuf {
        let suffix = if self.packed { "log.gz" } else { "log" };
        dir.join(format!("{:08}.{suffix}", self.sequence))
    }

    /// Where a reader stands that has not read this one; a foreign file may be called 0.
    pub(super) fn before(self) -> u64 {
        self.sequence.saturating_sub(1)
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        let (sequence, suffix) = name.split_once('.')?;
        let packed = match suffix {
            "log" => false,
            "log.gz" => true,
            _ => return None,
        };
        Some(Self { sequence: sequence.parse().ok()?, packed })
    }
}

/// The ring's segments, oldest first. While one is being compressed both of its forms exist; the
/// compressed one counts then, since it appears only when it is complete. No directory: no segments.
pub(super) fn segments(dir: &Path) -> io::Result<Vec<Segment>> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        let name = entry?.file_name();
        if let Some(segment) = name.to_str().and_then(Segment::parse) {
            let packed = found.entry(segment.sequence).or_insert(segment.packed);
            *packed |= segment.packed;
        }
    }
    Ok(found.into_iter().map(|(sequence, packed)| Segment { sequence, packed }).collect())
}

fn end_mark(dir: &Path) -> PathBuf {
    dir.join("end")
}

/// Whether nobody will write here any more.
pub(super) fn has_ended(dir: &Path) -> bool {
    end_mark(dir).exists()
}

/// Tells followers that nothing more comes.
pub(super) fn mark_end(dir: &Path) -> io::Result<()> {
    File::create(end_mark(dir)).map(drop)
}

/// Takes the mark back: the task is written again.
pub(super) fn clear_end(dir: &Path) -> io::Result<()> {
    match fs::remove_file(end_mark(dir)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_listed_oldest_first_and_compressed_ones_win() {
        let dir = tempfile::tempdir().unwrap();
        for name in
            ["00000012.log", "00000002.log.gz", "00000003.log", "00000003.log.gz", "x", "end"]
        {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let found: Vec<_> =
            segments(dir.path()).unwrap().into_iter().map(|s| (s.sequence, s.packed)).collect();
        assert_eq!(found, [(2, true), (3, true), (12, false)]);
        assert!(has_ended(dir.path()));
        assert_eq!(segments(&dir.path().join("missing")).unwrap(), []);
    }
}
