//! Small secret files, replaced whole or not at all.

use std::fs::{File, OpenOptions, rename};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::Error;

/// Larger than any file this crate writes.
const MAX_FILE: u64 = 64 << 10;

/// Puts `text` into `path` with mode 0600: after a power cut the file is the old or the new one.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), Error> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    let fault = |source| Error::File { path: path.to_owned(), action: "written", source };
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)
        .map_err(fault)?;
    file.write_all(text.as_bytes()).map_err(fault)?;
    file.sync_all().map_err(fault)?;
    rename(&fresh, path).map_err(fault)?;
    let parent = path.parent().unwrap_or(Path::new("."));
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(fault)
}

/// Reads a file that [`replace`] wrote.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<String>, Error> {
    let mut text = Zeroizing::new(String::new());
    File::open(path)
        .and_then(|file| file.take(MAX_FILE).read_to_string(&mut text))
        .map_err(|source| Error::File { path: path.to_owned(), action: "read", source })?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_replaced_whole_and_only_its_owner_may_read_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("identity.pem");
        replace(&path, "old").expect("written");
        replace(&path, "new").expect("written");
        assert_eq!(*read(&path).expect("read"), "new");
        let mode = path.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(dir.path().read_dir().expect("listed").count(), 1, "nothing else is left");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read(Path::new("/nonexistent/identity.pem")).expect_err("it is missing");
        assert_eq!(error.to_string(), "/nonexistent/identity.pem cannot be read");
    }
}
