//! Inputs that are kept: one a line, in hexadecimal, in `chaos-tests/corpus/`.
//!
//! `<target>.hex` is changed further by every run; `found/<target>.hex` once broke something and is fed
//! again by a test, with a line before it that tells what it broke.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::PathBuf;

use super::run::Finding;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn read(path: PathBuf) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| from_hex(line).expect("the corpus is hexadecimal")).collect()
}

/// Inputs of `target` that runs begin with.
pub fn inputs(target: &str) -> Vec<Vec<u8>> {
    read(folder().join(format!("{target}.hex")))
}

/// Inputs of `target` that once broke something.
pub fn found(target: &str) -> Vec<Vec<u8>> {
    read(folder().join("found").join(format!("{target}.hex")))
}

/// Keeps `inputs` for runs of `target` to begin with.
///
/// # Errors
/// When the file cannot be written.
pub fn keep(target: &str, inputs: &[Vec<u8>]) -> io::Result<()> {
    let text: String = inputs.iter().map(|input| to_hex(input) + "\n").collect();
    fs::write(folder().join(format!("{target}.hex")), text)
}

/// Adds what was found to the inputs that a test feeds again. Gives the file.
///
/// # Errors
/// When the file cannot be written.
pub fn save(finding: &Finding) -> io::Result<PathBuf> {
    let path = folder().join("found").join(format!("{}.hex", finding.target));
    let mut text = fs::read_to_string(&path).unwrap_or_default();
    let line = to_hex(&finding.input);
    if !text.lines().any(|known| known == line) {
        let what = finding.what.lines().next().unwrap_or_default();
        let _infallible = writeln!(text, "# {what}\n{line}");
        fs::create_dir_all(folder().join("found"))?;
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
