//! What happened in a run, line by line, and one number that stands for all of it: two runs of one
//! seed must give the same number.

use std::fmt::Write as _;

/// The lines of one run.
#[derive(Debug, Default)]
pub struct Trace {
    lines: Vec<String>,
    hash: Hash,
}

/// FNV-1a, 64 bits.
#[derive(Debug, Clone, Copy)]
pub struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    /// Takes `bytes` in.
    pub fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// The number so far.
    pub fn value(self) -> u64 {
        self.0
    }
}

impl std::fmt::Write for Hash {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.feed(text.as_bytes());
        Ok(())
    }
}

impl Trace {
    /// Notes what happened `at` milliseconds after the start.
    pub fn note(&mut self, at: u64, what: &str) {
        let line = format!("{at:>7} {what}");
        // Hashing never fails.
        self.hash.write_str(&line).ok();
        self.lines.push(line);
    }

    /// Stands for all lines.
    pub fn hash(&self) -> u64 {
        self.hash.value()
    }

    /// All lines.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}
