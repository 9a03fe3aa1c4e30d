//! What every replicated object carries: its version and when it changed.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::units::Timestamp;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )*};
}

counters! {
    /// A point in the cluster's history: the log index of the last change, as clients see it.
    Revision;
    /// The revision at which one object last changed.
    Version;
    /// The Raft term.
    Term;
}

impl From<Revision> for Version {
    fn from(at: Revision) -> Self {
        Self(at.0)
    }
}

/// Version and times of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct Meta {
    /// Revision of the last change.
    pub version: Version,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Meta {
    /// A new object's.
    pub fn new(at: Revision, now: Timestamp) -> Self {
        Self { version: at.into(), created_at: now, updated_at: now }
    }

    /// Notes a change.
    pub fn touch(&mut self, at: Revision, now: Timestamp) {
        self.version = at.into();
        self.updated_at = now;
    }
}
