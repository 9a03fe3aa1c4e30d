//! The end of a copy on this machine: which directory, and what it is called there.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use swarm_node::archive::enter;

use crate::exit::Failure;

/// What is copied from here.
#[derive(Debug)]
pub(super) struct Source {
    /// The directory that has it.
    pub(super) dir: OwnedFd,
    /// It, there; links that a person named are followed.
    pub(super) path: PathBuf,
    /// What it is called at the other end: as a person named it.
    pub(super) name: PathBuf,
}

impl Source {
    /// Looks what `path` is.
    ///
    /// # Errors
    /// When it is not there.
    pub(super) fn find(path: &str) -> Result<Self, Failure> {
        let whole = std::fs::canonicalize(path)
            .map_err(|error| Failure::failed(format!("{path}: {error}")))?;
        let contents = path.ends_with("/.");
        let name = Path::new(path).file_name().filter(|_name| !contents);
        let name = PathBuf::from(name.unwrap_or(".".as_ref()));
        let (dir, path) = match (whole.parent(), whole.file_name()) {
            (Some(parent), Some(own)) if !whole.is_dir() => (parent, PathBuf::from(own)),
            _ => (&*whole, PathBuf::new()),
        };
        Ok(Self { dir: enter(dir).map_err(failed)?, path, name })
    }
}

/// What a copy becomes here.
#[derive(Debug)]
pub(super) struct Target {
    /// The directory that gets it.
    pub(super) dir: OwnedFd,
    /// Its new name there; `.` when it keeps its own.
    pub(super) name: String,
}

impl Target {
    /// Looks what is at `path`.
    ///
    /// # Errors
    /// When there is no directory that could get it.
    pub(super) fn find(path: &str) -> Result<Self, Failure> {
        let whole = Path::new(path);
        if whole.is_dir() {
            return Ok(Self { dir: enter(whole).map_err(failed)?, name: ".".to_owned() });
        }
        if path.ends_with('/') {
            return Err(Failure::failed(format!("{path}: no such directory")));
        }
        let name = whole.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| Failure::usage(format!("{path} is no name for a file")))?;
        let parent = whole.parent().filter(|parent| *parent != Path::new(""));
        let dir = enter(parent.unwrap_or(Path::new("."))).map_err(failed)?;
        Ok(Self { dir, name: name.to_owned() })
    }
}

fn failed(error: swarm_node::archive::ArchiveError) -> Failure {
    Failure::failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use swarm_node::archive::{Naming, pack_as, unpack};

    use super::*;

    /// What a directory gets when `path` is copied there.
    fn copied(path: &Path) -> Vec<String> {
        let Source { dir, path, name } = Source::find(&path.to_string_lossy()).expect("is there");
        let mut archive = Vec::new();
        pack_as(dir, &path, &name, &mut archive).expect("is packed");
        let home = tempfile::tempdir().expect("a directory");
        let root = enter(home.path()).expect("is there");
        unpack(root, "", Naming::Copied, &archive[..]).expect("is unpacked");
        let names = std::fs::read_dir(home.path()).expect("is readable").flatten();
        names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn what_is_copied_is_called_as_the_person_named_it() {
        let home = tempfile::tempdir().expect("a directory");
        let at = |path: &str| home.path().join(path);
        std::fs::create_dir_all(at("release/inner")).expect("is made");
        std::fs::write(at("release/a"), "x").expect("is written");
        symlink("release", at("current")).expect("is linked");
        symlink("release/a", at("b")).expect("is linked");
        assert_eq!(copied(&at("release/a")), ["a"]);
        assert_eq!(copied(&at("b")), ["b"]);
        assert_eq!(copied(&at("release")), ["release"]);
        assert_eq!(copied(&at("current")), ["current"]);
        assert_eq!(copied(&at("current/")), ["current"]);
        for contents in ["current/.", "release/.", "release/inner/.."] {
            let mut names = copied(&at(contents));
            names.sort();
            assert_eq!(names, ["a", "inner"], "{contents}");
        }
        assert!(Source::find(&at("c").to_string_lossy()).is_err());
    }

    #[test]
    fn a_directory_whose_names_are_secret_has_files_all_the_same() {
        let home = tempfile::tempdir().expect("a directory");
        let file = home.path().join("a");
        std::fs::write(&file, "x").expect("is written");
        let secret = std::fs::Permissions::from_mode(0o311);
        std::fs::set_permissions(home.path(), secret).expect("is its owner's");
        assert_eq!(copied(&file), ["a"]);
        assert_eq!(Target::find(&file.to_string_lossy()).expect("is there").name, "a");
        let open = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(home.path(), open).expect("is its owner's");
    }

    #[test]
    fn what_comes_gets_a_new_name_or_keeps_its_own_in_a_directory() {
        let home = tempfile::tempdir().expect("a directory");
        let found = |path: &str| Target::find(&home.path().join(path).to_string_lossy());
        assert_eq!(found("").expect("is there").name, ".");
        assert_eq!(found("new").expect("may be made").name, "new");
        assert!(found("new/").is_err());
        assert!(found("no/new").is_err());
    }
}
