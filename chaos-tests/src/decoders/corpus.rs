//! Inputs that once broke something: one a line, in hexadecimal, in `chaos-tests/corpus/found/`.
//!
//! `<target>.hex` is fed again by a test and changed further by every run; a line before each input
//! tells what it broke.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::PathBuf;

use super::run::Finding;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus/found")
}

fn read(path: PathBuf) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| from_hex(line).expect("the corpus is hexadecimal")).collect()
}

/// Inputs of `target` that once broke something.
pub fn found(target: &str) -> Vec<Vec<u8>> {
    read(folder().join(format!("{target}.hex")))
}

/// The targets of which there are inputs, by the names of the files.
///
/// # Errors
/// When the folder cannot be read.
pub fn names() -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.push(name.strip_suffix(".hex").unwrap_or(&name).to_owned());
    }
    Ok(names)
}

/// Adds what was found to the inputs that a test feeds again. Gives the file.
///
/// # Errors
/// When the file cannot be written.
pub fn save(finding: &Finding) -> io::Result<PathBuf> {
    let path = folder().join(format!("{}.hex", finding.target));
    let mut text = fs::read_to_string(&path).unwrap_or_default();
    let line = to_hex(&finding.input);
    if !text.lines().any(|known| known == line) {
        let what = finding.what.lines().next().unwrap_or_default();
        let _infallible = writeln!(text, "# {what}\n{line}");
        fs::create_dir_all(folder())?;
        fs::write(&path, text)?;
    }
    Ok(path)
}

fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _infallible = write!(text, "{byte:02x}");
    }
    text
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(digit).collect()
}
