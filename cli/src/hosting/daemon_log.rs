//! What a daemon that died said last.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use swarm_node::setup::DAEMON_LOG;

/// Bytes of its end that are looked at.
const TAIL: u64 = 16 * 1024;
/// Lines shown when none is an error.
const LINES: usize = 3;

/// The last error in the log of this data directory, or its last lines; empty without a log.
pub(crate) fn last_words(data_dir: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(data_dir.join(DAEMON_LOG))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    pick(&String::from_utf8_lossy(&bytes))
}

fn pick(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if let Some(error) = lines.iter().rev().find_map(|line| line.strip_prefix("error: ")) {
        return error.to_owned();
    }
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_is_picked() {
        assert_eq!(pick("INFO a\nerror: one\nerror: two\n"), "two");
        assert_eq!(pick("a\nb\n\nc\nd\n"), "b\nc\nd");
        assert_eq!(pick(""), "");
    }
}
