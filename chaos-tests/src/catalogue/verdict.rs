//! How a run ended: only what was injected, loaded and checked in full is green.

use std::fmt;

use super::Sheet;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Everything held.
    Passed,
    /// Something did not hold.
    Violated(String),
    /// The faults did not happen or the load was too low: it shows nothing.
    Invalid(String),
    /// This machine cannot do it.
    Skipped(String),
}

impl Verdict {
    /// The exit status: 0 passed, 1 violated, 3 invalid, 4 skipped. 2 is wrong usage.
    pub fn code(&self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Violated(_) => 1,
            Self::Invalid(_) => 3,
            Self::Skipped(_) => 4,
        }
    }

    /// What a run's result means.
    pub fn of(result: &anyhow::Result<Sheet>) -> Self {
        match result {
            Err(error) => match error.downcast_ref::<Off>() {
                Some(Off::Invalid(why)) => Self::Invalid(why.clone()),
                Some(Off::Skipped(why)) => Self::Skipped(why.clone()),
                None => Self::Violated(format!("{error:#}")),
            },
            Ok(sheet) if !sheet.missed().is_empty() => {
                let missed: Vec<_> = sheet.missed().iter().map(|it| it.what.as_str()).collect();
                Self::Violated(format!("over the limit: {}", missed.join(", ")))
            }
            Ok(sheet) if sheet.faults().values().all(|count| *count == 0) => {
                Self::Invalid("no fault happened".to_owned())
            }
            Ok(_) => Self::Passed,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed => f.write_str("PASSED"),
            Self::Violated(why) => write!(f, "VIOLATED: {why}"),
            Self::Invalid(why) => write!(f, "INVALID: {why}"),
            Self::Skipped(why) => write!(f, "SKIPPED: {why}"),
        }
    }
}

/// Why a run says nothing about the product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Off {
    /// It did not do what it should.
    Invalid(String),
    /// It cannot be done here.
    Skipped(String),
}

impl fmt::Display for Off {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Invalid(why) | Self::Skipped(why)) = self;
        f.write_str(why)
    }
}

impl std::error::Error for Off {}

/// An error that makes a run invalid.
pub fn invalid(why: impl Into<String>) -> anyhow::Error {
    Off::Invalid(why.into()).into()
}

/// An error that makes a run skipped.
pub fn skipped(why: impl Into<String>) -> anyhow::Error {
    Off::Skipped(why.into()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_run_with_faults_within_its_limits_is_green() {
        let code = |result: anyhow::Result<Sheet>| Verdict::of(&result).code();
        assert_eq!(code(Ok(Sheet::default())), 3, "no faults");
        let mut sheet = Sheet::default();
        sheet.injected("kill", 1);
        assert_eq!(code(Ok(sheet)), 0);
        let mut sheet = Sheet::default();
        sheet.injected("kill", 1);
        sheet.no_more("lost writes", 1, 0);
        assert_eq!(code(Ok(sheet)), 1);
        assert_eq!(code(Err(anyhow::anyhow!("two leaders"))), 1);
        assert_eq!(code(Err(invalid("too little load"))), 3);
        assert_eq!(code(Err(skipped("no root").context("partition"))), 4);
    }
}
