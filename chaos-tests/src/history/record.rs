//! One line of a history.

use serde::{Deserialize, Serialize};

/// What a record says of its operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It is about to be asked for.
    Invoke,
    /// It was answered.
    Ok,
    /// It certainly did not happen and never will.
    Fail,
    /// Nobody knows: it may happen now, later or never. A time-out is this, never [`Kind::Fail`].
    Unknown,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum F {
    /// What a key holds.
    Read,
    /// That a key holds a value from now on. No value is written to a key twice.
    Write,
}

/// One line of a history. A process has at most one operation under way; each begins with an
/// [`Kind::Invoke`] and ends with one of the other kinds, or never.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Microseconds since the run began, by one clock for all processes.
    #[serde(rename = "t")]
    pub t_us: u64,
    /// Who asked.
    pub process: u32,
    /// What this record says.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// What was asked for.
    pub f: F,
    /// Of which register.
    pub key: String,
    /// Written, or read; none stands for a register that is not there.
    #[serde(rename = "val")]
    pub value: Option<u64>,
    /// With an answer: the revision of the write, or of the state that was read.
    #[serde(rename = "rev")]
    pub revision: Option<u64>,
    /// Which node was asked, by number.
    pub node: Option<u32>,
    /// The term in which it was answered, if the answer says so.
    pub term: Option<u64>,
}

impl Record {
    /// The record that begins a read.
    pub fn read(t_us: u64, process: u32, key: &str) -> Self {
        let (kind, f, key) = (Kind::Invoke, F::Read, key.to_owned());
        Self { t_us, process, kind, f, key, value: None, revision: None, node: None, term: None }
    }

    /// The record that begins a write.
    pub fn write(t_us: u64, process: u32, key: &str, value: Option<u64>) -> Self {
        Self { f: F::Write, value, ..Self::read(t_us, process, key) }
    }

    /// The record that ends what this one began.
    pub fn ended(&self, t_us: u64, kind: Kind) -> Self {
        Self { t_us, kind, ..self.clone() }
    }

    /// The record of an answer with this value and revision to what this one began.
    pub fn answered(&self, t_us: u64, value: Option<u64>, revision: u64) -> Self {
        Self { value, revision: Some(revision), ..self.ended(t_us, Kind::Ok) }
    }
}
