//! How much disk a directory takes.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::Result;

/// Bytes on disk of all files below `dir`; what vanishes meanwhile does not count.
///
/// # Errors
/// When a directory cannot be read.
pub fn disk_usage(dir: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let Ok(found) = entry.metadata() else { continue };
        if found.is_dir() {
            sum += disk_usage(&entry.path()).unwrap_or_default();
        } else {
            sum += found.blocks() * 512;
        }
    }
    Ok(sum)
}
