//! Histories as files of JSON lines.

use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};

use super::Record;

/// Writes a history, a record a line.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, records: &[Record]) -> Result<()> {
    let file = std::fs::File::create(path).with_context(|| format!("create {}", path.display()))?;
    let mut file = BufWriter::new(file);
    for record in records {
        serde_json::to_writer(&mut file, record)?;
        file.write_all(b"\n")?;
    }
    file.flush().with_context(|| format!("write {}", path.display()))
}

/// Reads a history back.
///
/// # Errors
/// When the file cannot be read or a line is no record.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    let file = std::fs::File::open(path).with_context(|| format!("open {}", path.display()))?;
    let lines = BufReader::new(file).lines().enumerate();
    lines
        .map(|(at, line)| {
            let place = || format!("{}, line {}", path.display(), at + 1);
            serde_json::from_str(&line.with_context(place)?).with_context(place)
        })
        .collect()
}
