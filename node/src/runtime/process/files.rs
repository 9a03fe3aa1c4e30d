//! The private directory with a task's config files.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Component, Path, PathBuf};

use super::record::Account;
use crate::runtime::{ConfigFile, Failure};

/// Writes `configs` below `dir`, which only the task's user may enter.
pub(super) fn write(
    dir: &Path,
    configs: &[ConfigFile],
    account: Option<&Account>,
) -> Result<(), Failure> {
    let (uid, gid) = (account.map(|account| account.uid), account.map(|account| account.gid));
    let failed = |source: io::Error| Failure::at("write configs below", dir, source);
    remove(dir).map_err(failed)?;
    if let Some(parent) = dir.parent() {
        DirBuilder::new().recursive(true).mode(0o711).create(parent).map_err(failed)?;
    }
    make_dir(dir, uid, gid).map_err(failed)?;
    for config in configs {
        let relative = relative(&config.path)?;
        let mut parent = dir.to_owned();
        for part in relative.parent().into_iter().flat_map(Path::components) {
            parent.push(part);
            make_dir(&parent, uid, gid).map_err(failed)?;
        }
        let path = dir.join(relative);
        write_file(&path, config, uid, gid)
            .map_err(|source| Failure::at("write config", &path, source))?;
    }
    Ok(())
}

fn make_dir(dir: &Path, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) if uid.is_some() => chown(dir, uid, gid),
        Ok(()) => Ok(()),
    }
}

fn write_file(
    path: &Path,
    config: &ConfigFile,
    uid: Option<u32>,
    gid: Option<u32>,
) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(&config.content)?;
    let (uid, gid) = (config.uid.or(uid), config.gid.or(gid));
    if uid.is_some() || gid.is_some() {
        chown(path, uid, gid)?;
    }
    file.set_permissions(fs::Permissions::from_mode(config.mode & 0o777))
}

/// The path without a leading `/`; nothing that leads out of the directory.
fn relative(path: &str) -> Result<PathBuf, Failure> {
    let trimmed = path.trim_start_matches('/');
    let mut parts = Path::new(trimmed).components();
    if trimmed.is_empty() || !parts.all(|part| matches!(part, Component::Normal(_))) {
        return Err(Failure::BadConfigPath { path: path.to_owned() });
    }
    Ok(PathBuf::from(trimmed))
}

/// Removes the directory; none is fine.
pub(super) fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configs_stay_below_their_directory() {
        for good in ["a", "/a", "a/b.conf", "//etc/x"] {
            assert!(relative(good).is_ok(), "{good}");
        }
        for bad in ["", "/", "..", "../x", "a/../../x", "/.."] {
            assert!(relative(bad).is_err(), "{bad}");
        }
    }
}
