//! When a job runs by itself: times of day, days, a zone, and what happens when runs meet or are missed.
//!
//! Plain data and its rules; what a zone makes of a time is not known here.

mod cron;
mod field;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use self::cron::{Cron, CronError};
use crate::name::LABEL_MAX;
use crate::node::UnknownWord;
use crate::service::SpecError;
use crate::units::Timestamp;

/// What happens when a run is due while another one goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// It is left out.
    #[default]
    Skip,
    /// Both run.
    Allow,
    /// The other one is stopped.
    Replace,
}

/// Which of the runs that were missed take place after all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum CatchUp {
    /// The newest one, unless there are some that are due now.
    #[default]
    Last,
    /// None that is more than a minute late.
    None,
    /// The newest hundred, in order: one after the other, unless runs may overlap.
    All,
}

macro_rules! words {
    ($($name:ident: $allowed:literal, $($variant:ident $word:literal)*;)*) => {$(
        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(UnknownWord { given: text.to_owned(), allowed: $allowed }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self {
                    $(Self::$variant => $word,)*
                })
            }
        }
    )*};
}

words! {
    Overlap: "skip, allow, replace", Skip "skip" Allow "allow" Replace "replace";
    CatchUp: "last, none, all", Last "last" None "none" All "all";
}

/// The most due times that are decided on at once, and the most that were missed and are made up for.
pub const DUE_MAX: usize = 100;

/// When a job runs by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct ScheduleSpec {
    /// The times.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub cron: Cron,
    /// The zone whose clocks and calendar they are of, by its name in the IANA database.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// When runs meet.
    #[serde(default)]
    pub overlap: Overlap,
    /// When runs were missed.
    #[serde(default)]
    pub catch_up: CatchUp,
}

fn utc() -> String {
    "UTC".to_owned()
}

impl ScheduleSpec {
    /// Whether it is due at the same times as `other`.
    pub fn is_at(&self, other: &Self) -> bool {
        self.cron == other.cron && self.time_zone == other.time_zone
    }

    /// Checks what the types cannot. Whether there is such a zone is not known here.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub(crate) fn validate(&self) -> Result<(), SpecError> {
        if self.time_zone.is_empty() || self.time_zone.len() > LABEL_MAX {
            let reason = "is no name of a time zone, like Europe/Berlin";
            return Err(SpecError::new("Schedule.TimeZone", reason));
        }
        if !self.cron.is_ever_due() {
            let reason = format!("\"{}\" is never due: no month of it has such a day", self.cron);
            return Err(SpecError::new("Schedule.Cron", reason));
        }
        Ok(())
    }
}

/// How far a schedule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct ScheduleState {
    /// Every due time up to this moment was decided on.
    pub cursor: Timestamp,
}
