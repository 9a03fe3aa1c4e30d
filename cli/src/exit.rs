//! How a command fails: an exit code and a sentence for the person who typed it.
//!
//! It does not print; `main` does.

use std::collections::BTreeSet;
use std::fmt;
use std::io;

/// Exit codes other than 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// It was tried and did not work.
    Failed,
    /// The command line or the input is wrong.
    Usage,
    /// The named object does not exist.
    NotFound,
    /// Somebody else changed it, took the name, or needs it.
    Conflict,
    /// The node or the cluster's majority cannot be reached.
    Unreachable,
    /// The time given for waiting is over.
    TimedOut,
    /// A program that was run in a task ended with this code.
    Program(u8),
}

impl Exit {
    /// The number that the shell sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Conflict => 4,
            Self::Unreachable => 5,
            Self::TimedOut => 124,
            Self::Program(code) => code,
        }
    }

    /// The exit code of one of the API's error codes.
    pub(crate) fn of_api_code(code: &str) -> Self {
        match code {
            "invalid" => Self::Usage,
            "not_found" | "ambiguous" => Self::NotFound,
            "name_taken" | "version_conflict" | "revision_conflict" | "in_use" | "conflict" => {
                Self::Conflict
            }
            "no_quorum" | "unavailable" | "unknown_outcome" => Self::Unreachable,
            _ => Self::Failed,
        }
    }
}

/// Why a command ends with another exit code than 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// What the shell sees.
    pub(crate) exit: Exit,
    /// What the person sees; empty when nothing is left to say.
    pub(crate) message: String,
}

impl Failure {
    /// A failure with this exit code.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// Tried, did not work.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// Wrong command line or input.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Whether the object does not exist.
    pub(crate) fn is_not_found(&self) -> bool {
        self.exit == Exit::NotFound
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Output that nobody reads any more (`swarm … | head`) ends a command without a word.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::failed("")
        } else {
            Self::failed(format!("cannot write the output: {error}"))
        }
    }
}

/// Does `action` once for each reference, goes on after failures, and fails as the first one did.
///
/// # Errors
/// The failures in one message, with the first one's exit code.
pub(crate) async fn for_each(
    references: &[String],
    mut action: impl AsyncFnMut(String) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut failures = Vec::new();
    let mut seen = BTreeSet::new();
    for reference in references.iter().filter(|reference| seen.insert(reference.as_str())) {
        if let Err(failure) = action(reference.clone()).await {
            failures.push(failure);
        }
    }
    let Some(first) = failures.first() else { return Ok(()) };
    let messages: Vec<_> = failures.iter().map(|failure| failure.message.as_str()).collect();
    Err(Failure::new(first.exit, messages.join("\nerror: ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_api_code_has_its_exit_code() {
        for (code, number) in [
            ("invalid", 2),
            ("not_found", 3),
            ("ambiguous", 3),
            ("name_taken", 4),
            ("version_conflict", 4),
            ("revision_conflict", 4),
            ("in_use", 4),
            ("no_quorum", 5),
            ("unavailable", 5),
            ("internal", 1),
            ("something new", 1),
        ] {
            assert_eq!(Exit::of_api_code(code).code(), number, "{code}");
        }
        assert_eq!(Exit::TimedOut.code(), 124);
    }

    #[tokio::test]
    async fn what_is_named_twice_is_done_once() {
        let mut done = Vec::new();
        let names = ["a", "b", "a"].map(str::to_owned);
        for_each(&names, async |name| {
            done.push(name);
            Ok(())
        })
        .await
        .expect("nothing fails");
        assert_eq!(done, ["a", "b"]);
    }
}
