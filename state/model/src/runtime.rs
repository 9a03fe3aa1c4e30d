//! What a task runs: the part of a task template that a runtime understands.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::id::ConfigId;

/// The program of a task, by runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum RuntimeSpec {
    /// A program of the host.
    Process(ProcessSpec),
}

impl RuntimeSpec {
    /// The runtime's registered name.
    pub fn runtime(&self) -> &'static str {
        match self {
            Self::Process(_) => "process",
        }
    }

    /// What lists show in the IMAGE column.
    pub fn image(&self) -> String {
        match self {
            Self::Process(process) => {
                process.command.first().cloned().unwrap_or_else(|| "-".to_owned())
            }
        }
    }
}

/// A program of the host and how it is started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase", default)]
pub struct ProcessSpec {
    /// Program and arguments. Templates are expanded.
    pub command: Vec<String>,
    /// Environment, by name. Templates are expanded.
    pub env: BTreeMap<String, String>,
    /// `user`, `uid`, `user:group` or `uid:gid`; the node's own user when unset.
    pub user: Option<String>,
    /// Extra groups, by name or number.
    pub groups: Vec<String>,
    /// Working directory; the task's own run directory when unset.
    pub workdir: Option<String>,
    /// Host name seen by the program, in `HOSTNAME`. Templates are expanded.
    pub hostname: Option<String>,
    /// Files made from configs.
    pub configs: Vec<ConfigReference>,
    /// What of the machine it sees for itself.
    pub namespaces: BTreeSet<Namespace>,
}

/// A part of the machine that a program can have for itself instead of sharing it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Namespace {
    /// Mounts: what it mounts is seen by it alone.
    Mount,
    /// Processes: it sees only its own, and all end with it. It has mounts of its own then, too.
    Pid,
    /// Network: it has none but a loopback of its own.
    Net,
    /// System V and POSIX message queues, semaphores and shared memory; mounts of its own, too.
    Ipc,
}

impl Namespace {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Mount, Self::Pid, Self::Net, Self::Ipc];
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Mount => "mount",
            Self::Pid => "pid",
            Self::Net => "net",
            Self::Ipc => "ipc",
        })
    }
}

/// Why a text is not a namespace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no namespace: choose from mount, pid, net, ipc")]
pub struct ParseNamespaceError(String);

impl FromStr for Namespace {
    type Err = ParseNamespaceError;

    fn from_str(text: &str) -> Result<Self, ParseNamespaceError> {
        let found = Self::ALL.into_iter().find(|one| one.to_string() == text);
        found.ok_or_else(|| ParseNamespaceError(text.to_owned()))
    }
}

/// A config that becomes a file of the task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct ConfigReference {
    /// Which config.
    #[serde(rename = "ConfigID")]
    pub config: ConfigId,
    /// Its name when the service was written; for people.
    pub name: String,
    /// File name below the task's config directory.
    pub target: String,
    /// Owner, a number; the task's user when unset.
    pub uid: Option<u32>,
    /// Group, a number.
    pub gid: Option<u32>,
    /// Permission bits.
    pub mode: u32,
}

/// A signal by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(value_type = String))]
pub struct Signal(u8);

/// Name and Linux number of every signal that may stop a task.
const SIGNALS: [(&str, u8); 14] = [
    ("SIGHUP", 1),
    ("SIGINT", 2),
    ("SIGQUIT", 3),
    ("SIGABRT", 6),
    ("SIGKILL", 9),
    ("SIGUSR1", 10),
    ("SIGUSR2", 12),
    ("SIGALRM", 14),
    ("SIGTERM", 15),
    ("SIGCONT", 18),
    ("SIGSTOP", 19),
    ("SIGTSTP", 20),
    ("SIGWINCH", 28),
    ("SIGPWR", 30),
];

/// Why a text is not a signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a signal that can stop a task: use a name like SIGTERM or a number like 15"
)]
pub struct ParseSignalError(String);

impl Signal {
    /// Asks politely.
    pub const TERM: Self = Self(15);
    /// Asks no one.
    pub const KILL: Self = Self(9);

    /// The Linux number.
    pub fn number(self) -> i32 {
        i32::from(self.0)
    }
}

impl Default for Signal {
    fn default() -> Self {
        Self::TERM
    }
}

impl FromStr for Signal {
    type Err = ParseSignalError;

    fn from_str(text: &str) -> Result<Self, ParseSignalError> {
        let upper = text.to_ascii_uppercase();
        let full = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
        let number = text.parse::<u8>().ok();
        SIGNALS
            .iter()
            .find(|(name, value)| *name == full || Some(*value) == number)
            .map(|(_, value)| Self(*value))
            .ok_or_else(|| ParseSignalError(text.to_owned()))
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SIGNALS.iter().find(|(_, value)| *value == self.0) {
            Some((name, _)) => f.pad(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl Serialize for Signal {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Signal {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_known_by_name_and_number() {
        for text in ["SIGTERM", "TERM", "term", "15"] {
            assert_eq!(text.parse(), Ok(Signal::TERM), "{text}");
        }
        assert!("SIGNOPE".parse::<Signal>().is_err());
        assert!("0".parse::<Signal>().is_err());
        assert_eq!(Signal::KILL.to_string(), "SIGKILL");
    }
}
