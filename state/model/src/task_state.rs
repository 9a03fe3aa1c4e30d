//! The two state words of a task: what is wanted of it, and what is seen of it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the cluster wants of a task. Only moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum DesiredState {
    /// Prepared, but not started yet (a restart delay runs).
    Ready,
    /// Running.
    Running,
    /// Ended; kept as history.
    Shutdown,
    /// Ended and forgotten.
    Remove,
}

/// What is seen of a task. Only moves forward: the order of the variants is the order of life.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum ObservedState {
    /// Just created.
    #[default]
    New,
    /// Waits for a node that fits.
    Pending,
    /// Has a node.
    Assigned,
    /// The node knows of it, durably.
    Accepted,
    /// The node gets ready: files, cgroup, checks.
    Preparing,
    /// Prepared.
    Ready,
    /// Being started.
    Starting,
    /// Runs.
    Running,
    /// Ended by itself with exit status 0.
    Complete,
    /// Ended because it was asked to.
    Shutdown,
    /// Ended with an error.
    Failed,
    /// The node could not even start it.
    Rejected,
    /// Its node is gone; nobody knows.
    Orphaned,
}

impl ObservedState {
    /// Whether nothing comes after it.
    pub fn is_terminal(self) -> bool {
        self >= Self::Complete
    }
}

macro_rules! display_as_debug {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&format!("{self:?}"))
            }
        }
    )*};
}

display_as_debug! { DesiredState ObservedState }
