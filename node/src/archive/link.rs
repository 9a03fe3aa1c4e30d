//! Links of an archive: what they may lead to.

use std::fmt::Display;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use tar::Entry;

use super::ArchiveError;
use super::error::plain;

/// What a link names.
pub(super) fn target<R: Read>(entry: &Entry<'_, R>, shown: &Path) -> Result<PathBuf, ArchiveError> {
    let target = entry.link_name().map_err(ArchiveError::Damaged)?;
    let target = target.ok_or_else(|| ArchiveError::refused(shown, "it is a link to nothing"))?;
    if target.is_absolute() {
        return Err(refused(shown, &target, ", an absolute path"));
    }
    Ok(target.into_owned())
}

/// Refuses what a link that lies at `path` must not lead to, whatever there is or will be on the way.
///
/// # Errors
/// It leads out of the directory, or nobody can say where it does: what lies above `a/b` depends on what `b`
/// is by then.
pub(super) fn check(path: &Path, target: &Path, shown: &Path) -> Result<(), ArchiveError> {
    let mut above = path.components().count().saturating_sub(1);
    let mut is_down = false;
    for part in target.components() {
        match part {
            Component::ParentDir if is_down => {
                return Err(refused(shown, target, ", with \"..\" behind a name"));
            }
            Component::ParentDir if above == 0 => return Err(outside(shown, target)),
            Component::ParentDir => above -= 1,
            Component::Normal(_) => is_down = true,
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Ok(())
}

/// Refuses a link that leads out.
pub(super) fn outside(shown: &Path, target: &Path) -> ArchiveError {
    refused(shown, target, ", outside")
}

/// Refuses a link.
pub(super) fn refused(shown: &Path, target: &Path, why: impl Display) -> ArchiveError {
    ArchiveError::refused(shown, format!("it is a link to {}{why}", plain(target)))
}
