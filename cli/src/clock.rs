//! The wall clock of the command line: for ages in tables and for `--since 10m`.

use std::time::{SystemTime, UNIX_EPOCH};

use swarm_model::units::Timestamp;

use crate::parse::duration;

/// The time now.
#[expect(clippy::disallowed_methods, reason = "the one place where commands read the wall clock")]
pub(crate) fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// `5 minutes ago`, seen from now.
pub(crate) fn ago(then: Timestamp) -> String {
    let span = duration::in_words(now().since(then)).to_lowercase();
    format!("{span} ago")
}
