//! When a task that ended is replaced, and how long that waits.
//!
//! The record of past restarts travels from task to replacement, so any leader can go on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::meta::Revision;
use crate::node::UnknownWord;
use crate::units::Timestamp;

/// Which ends are followed by a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RestartCondition {
    /// Never.
    None,
    /// When it failed.
    OnFailure,
    /// Always.
    #[default]
    Any,
}

impl FromStr for RestartCondition {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "none" => Ok(Self::None),
            "on-failure" => Ok(Self::OnFailure),
            "any" => Ok(Self::Any),
            _ => Err(UnknownWord { given: text.to_owned(), allowed: "any, on-failure, none" }),
        }
    }
}

impl fmt::Display for RestartCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::OnFailure => "on-failure",
            Self::Any => "any",
        })
    }
}

/// What happens to a task whose node was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Reschedule {
    /// A replacement starts elsewhere, whatever the restart condition.
    #[default]
    Always,
    /// The slot waits for its node.
    Never,
}

impl FromStr for Reschedule {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        match text {
            "always" => Ok(Self::Always),
            "never" => Ok(Self::Never),
            _ => Err(UnknownWord { given: text.to_owned(), allowed: "always, never" }),
        }
    }
}

/// The rules for replacing ended tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase", default)]
pub struct RestartPolicy {
    /// Which ends count.
    pub condition: RestartCondition,
    /// A fixed delay; `None`: at once, then 100 ms doubling to 30 s with jitter, reset after 60 s.
    pub delay_ms: Option<u64>,
    /// How many restarts within `window_ms`; `None` is no bound.
    pub max_attempts: Option<u32>,
    /// The window of `max_attempts`; `None` counts for ever.
    pub window_ms: Option<u64>,
    /// Lost nodes.
    pub reschedule: Reschedule,
}

/// What a task knows of its predecessors in the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct RestartRecord {
    /// Restarts in a row since the slot was last healthy: drives the delay.
    pub streak: u32,
    /// Restarts since `window_start`: held against `max_attempts`.
    pub attempts: u32,
    /// When the window opened.
    pub window_start: Option<Timestamp>,
    /// Whether it stands for a task that a more important one has ended: it never ends others for
    /// its own sake.
    #[serde(default)]
    pub displaced: bool,
    /// The update under which its slot failed, if it did.
    #[serde(default)]
    pub failed_update: Option<Revision>,
}
