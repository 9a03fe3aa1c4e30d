//! How often a node was started: a number that only rises, durable before anybody hears of it.
//!
//! It tells an old copy of a data directory from the node itself: the copy draws a number that the
//! others know already. Who compares is in [`crate::greet`].

use std::path::Path;

use serde::de::Error as _;

use crate::config::{self, ConfigError};

/// The number's file.
const BOOT_FILE: &str = "boot.json";

/// Numbers from here on were drawn at random, by a version that counted no starts.
const COUNTED: u64 = 1 << 48;

/// The number of the last start; zero before the first. Blocks on the disk.
///
/// # Errors
/// See [`ConfigError`].
pub fn last(dir: &Path) -> Result<u64, ConfigError> {
    Ok(config::load(&dir.join(BOOT_FILE))?.unwrap_or(0))
}

/// Draws the number of this start, durably. Blocks on the disk.
///
/// # Errors
/// See [`ConfigError`]. A file whose number counts no starts is damaged.
pub(crate) fn draw(dir: &Path) -> Result<u64, ConfigError> {
    let last = last(dir)?;
    let boot = last.checked_add(1).and_then(counted).ok_or_else(|| ConfigError::Malformed {
        path: dir.join(BOOT_FILE),
        source: serde_json::Error::custom(format!("a node does not start {last} times")),
    })?;
    config::save(&dir.join(BOOT_FILE), &boot)?;
    Ok(boot)
}

/// Makes the next start draw more than `known`, durably. What counts no starts is passed over: it comes
/// from others. Blocks on the disk.
///
/// # Errors
/// See [`ConfigError`].
pub(crate) fn pass(dir: &Path, known: u64) -> Result<(), ConfigError> {
    match counted(known.saturating_add(1)) {
        Some(_next) if last(dir)? < known => config::save(&dir.join(BOOT_FILE), &known),
        Some(_) | None => Ok(()),
    }
}

/// `boot`, if it counts starts at all.
pub(crate) fn counted(boot: u64) -> Option<u64> {
    (boot < COUNTED).then_some(boot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_pass_what_others_know() {
        let dir = tempfile::tempdir().expect("temp dir");
        assert_eq!(last(dir.path()).expect("absent"), 0);
        assert_eq!(draw(dir.path()).expect("written"), 1);
        assert_eq!(draw(dir.path()).expect("written"), 2);
        pass(dir.path(), 1).expect("nothing to do");
        assert_eq!(last(dir.path()).expect("read"), 2);
        pass(dir.path(), 9).expect("written");
        assert_eq!(draw(dir.path()).expect("written"), 10);
        for wrong in [u64::MAX, COUNTED, COUNTED - 1] {
            pass(dir.path(), wrong).expect("passed over");
            assert_eq!(last(dir.path()).expect("read"), 10, "{wrong}");
        }
        for damaged in [u64::MAX, COUNTED - 1] {
            config::save(&dir.path().join(BOOT_FILE), &damaged).expect("written");
            let refused = draw(dir.path()).expect_err("not a number of starts");
            assert!(matches!(refused, ConfigError::Malformed { .. }), "{refused}");
        }
    }
}
