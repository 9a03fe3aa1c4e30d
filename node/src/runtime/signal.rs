//! A signal number that is known to be one, with the names people write.
//!
//! Sending signals is the process runtime's work.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The classic signals by number; real-time signals go by number only.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// The highest signal number of Linux.
const LAST: i32 = 64;

/// A signal, 1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i32", into = "i32")]
pub struct Signal(i32);

impl Signal {
    /// Asks a program to end; it may clean up.
    pub const TERM: Self = Self(15);
    /// Ends a program at once.
    pub const KILL: Self = Self(9);
    /// Hang-up; by habit: read the configuration again.
    pub const HUP: Self = Self(1);

    /// Its number.
    pub const fn number(self) -> i32 {
        self.0
    }
}

impl Default for Signal {
    fn default() -> Self {
        Self::TERM
    }
}

/// Why a text or number is not a signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a signal: use a name such as SIGTERM or a number from 1 to {LAST}")]
pub struct ParseSignalError(String);

impl TryFrom<i32> for Signal {
    type Error = ParseSignalError;

    fn try_from(number: i32) -> Result<Self, ParseSignalError> {
        if (1..=LAST).contains(&number) {
            Ok(Self(number))
        } else {
            Err(ParseSignalError(number.to_string()))
        }
    }
}

impl From<Signal> for i32 {
    fn from(signal: Signal) -> Self {
        signal.0
    }
}

impl FromStr for Signal {
    type Err = ParseSignalError;

    fn from_str(text: &str) -> Result<Self, ParseSignalError> {
        let refused = || ParseSignalError(text.to_owned());
        if let Ok(number) = text.parse::<i32>() {
            return Self::try_from(number);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let index = NAMES.iter().position(|known| *known == name).ok_or_else(refused)?;
        i32::try_from(index + 1).map_err(|_range| refused()).and_then(Self::try_from)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = usize::try_from(self.0 - 1).map_err(|_range| fmt::Error)?;
        match NAMES.get(index) {
            Some(name) => write!(f, "SIG{name}"),
            None => write!(f, "signal {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_the_same_signals() {
        for text in ["SIGTERM", "term", "Term", "15"] {
            assert_eq!(text.parse(), Ok(Signal::TERM), "{text}");
        }
        assert_eq!("SIGSYS".parse::<Signal>().map(Signal::number), Ok(31));
        assert_eq!("SIGUSR2".parse::<Signal>().map(Signal::number), Ok(12));
        assert_eq!(Signal::KILL.to_string(), "SIGKILL");
        assert_eq!("34".parse::<Signal>().map(|s| s.to_string()), Ok("signal 34".to_owned()));
    }

    #[test]
    fn what_is_no_signal_is_refused_with_a_hint() {
        for text in ["", "0", "65", "-9", "SIGNOPE", "SIG"] {
            let error = text.parse::<Signal>().unwrap_err();
            assert!(error.to_string().contains("SIGTERM"), "{error}");
        }
    }
}
