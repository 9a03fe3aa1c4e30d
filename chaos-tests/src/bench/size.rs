//! The size of the binary.

use anyhow::Result;

use super::report::{Report, Row};
use crate::real;

const TARGET: u64 = 20 << 20;

/// Adds the row.
pub(super) fn run(report: &mut Report) -> Result<()> {
    let binary = real::swarm()?;
    let size = std::fs::metadata(&binary)?.len();
    let release = binary.parent().is_some_and(|dir| dir.ends_with("release"));
    let mebibytes = size / 1024 * 10 / 1024;
    report.add(Row {
        what: format!("{} binary", if release { "release" } else { "debug" }),
        figure: format!("{}.{} MiB", mebibytes / 10, mebibytes % 10),
        target: "≤ 20 MiB".to_owned(),
        met: Some(size <= TARGET),
        ..Row::default()
    });
    Ok(())
}
