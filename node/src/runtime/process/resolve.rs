//! Finds the program and the working directory of a task, and says well why not.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::runtime::Failure;

/// What a task searches when its environment has no `PATH`.
pub(super) const DEFAULT_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The file that `program` names: searched in `path` (colons between directories), or relative to
/// `workdir` when it has a slash.
pub(super) fn program(program: &str, path: &str, workdir: &Path) -> Result<PathBuf, Failure> {
    if program.contains('/') {
        let file = workdir.join(program);
        return match reason_against(&file) {
            None => Ok(file),
            Some(Against::Missing) => {
                Err(Failure::NotFound { program: program.to_owned(), hint: String::new() })
            }
            Some(Against::Unfit(why)) => {
                Err(Failure::NotExecutable { program: program.to_owned(), why: why.to_owned() })
            }
        };
    }
    let mut unfit = None;
    for dir in path.split(':') {
        let file = workdir.join(dir).join(program);
        match reason_against(&file) {
            None if !program.is_empty() => return Ok(file),
            None | Some(Against::Missing) => {}
            Some(Against::Unfit(why)) => unfit = unfit.or(Some((file, why))),
        }
    }
    Err(match unfit {
        Some((file, why)) if !program.is_empty() => {
            Failure::NotExecutable { program: file.display().to_string(), why: why.to_owned() }
        }
        _ => Failure::NotFound { program: program.to_owned(), hint: format!(" in PATH ({path})") },
    })
}

enum Against {
    Missing,
    Unfit(&'static str),
}

fn reason_against(file: &Path) -> Option<Against> {
    match fs::metadata(file) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Some(Against::Unfit("permission denied on the way to it"))
        }
        Err(_missing) => Some(Against::Missing),
        Ok(metadata) if metadata.is_dir() => Some(Against::Unfit("it is a directory")),
        Ok(metadata) if !metadata.is_file() => Some(Against::Unfit("it is not a regular file")),
        Ok(_file) => access(file, Access::EXEC_OK)
            .err()
            .map(|_no_mode| Against::Unfit("it has no execute permission (chmod +x)")),
    }
}

/// Checks a working directory that was asked for.
pub(super) fn workdir(asked: &str) -> Result<PathBuf, Failure> {
    let path = PathBuf::from(asked);
    if path.is_absolute() && path.is_dir() {
        Ok(path)
    } else {
        Err(Failure::NoSuchWorkdir { path: asked.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn programs_are_found_as_a_shell_finds_them_or_refused_with_the_reason() {
        let home = tempfile::tempdir().unwrap();
        let (plain, good) = (home.path().join("plain"), home.path().join("good"));
        fs::write(&plain, "").unwrap();
        fs::write(&good, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&good, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("/nowhere:{}", home.path().display());
        let check = |name: &str, expect: Result<&Path, &str>| {
            let found = program(name, &path, home.path()).map_err(|failure| failure.to_line());
            match expect {
                Ok(file) => assert_eq!(found.as_deref(), Ok(file), "{name}"),
                Err(text) => {
                    assert!(found.as_ref().is_err_and(|line| line.contains(text)), "{found:?}")
                }
            }
        };
        check("good", Ok(&good));
        check("./good", Ok(&home.path().join("./good")));
        check("plain", Err("chmod +x"));
        check("missing", Err("program missing not found in PATH"));
        check("/missing", Err("program /missing not found"));
        check("/etc", Err("it is a directory"));
        check("", Err("not found"));
    }

    #[test]
    fn a_working_directory_must_exist_and_be_absolute() {
        assert!(workdir("/").is_ok());
        for asked in ["", "relative", "/nowhere", "/etc/passwd"] {
            assert!(workdir(asked).is_err(), "{asked}");
        }
    }
}
