//! A part of a service's tasks: so many, or so many of a hundred.
//!
//! Counts; what follows from the count is decided elsewhere.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::service::SpecError;

/// A part of a service's tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum Share {
    /// So many.
    Count(u32),
    /// So many of a hundred, rounded up.
    Percent(u8),
}

/// Why a text is no share.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{given}\" is not a share of the tasks: write a number like 2, or 0% to 100%")]
pub struct NoShare {
    /// The text.
    pub given: String,
}

impl Share {
    /// How many of `total` that is; may be more than there are.
    pub fn of(self, total: usize) -> usize {
        match self {
            Self::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Self::Percent(percent) => total.saturating_mul(usize::from(percent)).div_ceil(100),
        }
    }

    /// Checks what the type cannot. `field` is its name in the spec.
    ///
    /// # Errors
    /// When it is more than all.
    pub(crate) fn validate(self, field: &str) -> Result<(), SpecError> {
        match self {
            Self::Percent(percent) if percent > 100 => {
                Err(SpecError::new(field, format!("{percent}% is more than all (100%)")))
            }
            Self::Count(_) | Self::Percent(_) => Ok(()),
        }
    }
}

impl FromStr for Share {
    type Err = NoShare;

    fn from_str(text: &str) -> Result<Self, NoShare> {
        let digits = text.strip_suffix('%').unwrap_or(text);
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        let share = if digits.len() == text.len() {
            text.parse().ok().map(Self::Count)
        } else {
            digits.parse().ok().filter(|percent| *percent <= 100).map(Self::Percent)
        };
        share.filter(|_| plain).ok_or_else(|| NoShare { given: text.to_owned() })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_numbers_or_percents() {
        for text in ["0", "2", "100000", "0%", "50%", "100%"] {
            let share: Share = text.parse().expect("is one");
            assert_eq!(share.to_string(), text);
            assert_eq!(share.validate("S"), Ok(()));
        }
        for text in ["", "%", "-1", "+1", "101%", "256%", "1.5", "a", "5 %", "1%%"] {
            let refused = text.parse::<Share>().expect_err("is none").to_string();
            assert!(refused.contains("0% to 100%"), "{refused}");
        }
        assert_eq!(Share::Percent(101).validate("S").expect_err("more than all").field, "S");
    }

    #[test]
    fn percents_are_rounded_up() {
        for (percent, total, count) in [(50, 3, 2), (50, 4, 2), (1, 1, 1), (0, 9, 0), (100, 7, 7)] {
            assert_eq!(Share::Percent(percent).of(total), count);
        }
        assert_eq!(Share::Count(5).of(3), 5);
    }
}
