//! The Unix socket file: made with the right mode at once, never taken from a daemon that lives.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// Name of the socket in a data directory.
pub const SOCKET_NAME: &str = "swarm.sock";
/// Owner and group may ask.
const MODE: u32 = 0o660;
/// The longest path of a socket (`sun_path` without its end).
const PATH_MAX: usize = 107;

/// Why there is no socket. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A daemon listens there.
    #[error("another daemon already serves {path}", path = path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something else has the name.
    #[error("{path} is in the way: it is not a socket", path = path.display())]
    NotASocket {
        /// What is there.
        path: PathBuf,
    },
    /// The system cannot take such a path.
    #[error(
        "{path} is too long for a socket ({PATH_MAX} bytes at most): choose a shorter data \
         directory",
        path = path.display()
    )]
    PathTooLong {
        /// The socket.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot listen on {path}", path = path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Listens on `path`; replaces a file that a dead daemon left. Blocking, within a tokio runtime.
///
/// # Errors
/// See [`BindError`].
pub(super) fn bind(path: &Path) -> Result<UnixListener, BindError> {
    let failed = |source| BindError::Io { path: path.to_owned(), source };
    refuse_if_in_use(path)?;
    // Under another name first: the name appears together with the mode.
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    if temporary.as_os_str().len() > PATH_MAX {
        return Err(BindError::PathTooLong { path: path.to_owned() });
    }
    match fs::remove_file(&temporary) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(failed(source)),
        _ => {}
    }
    let listener = StdListener::bind(&temporary).map_err(failed)?;
    fs::set_permissions(&temporary, fs::Permissions::from_mode(MODE)).map_err(failed)?;
    fs::rename(&temporary, path).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    UnixListener::from_std(listener).map_err(failed)
}

fn refuse_if_in_use(path: &Path) -> Result<(), BindError> {
    let failed = |source| BindError::Io { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed(source)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(BindError::NotASocket { path: path.to_owned() });
        }
        Ok(_socket) => {}
    }
    match StdStream::connect(path) {
        Ok(_daemon) => Err(BindError::InUse { path: path.to_owned() }),
        Err(source) if source.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(source) => Err(failed(source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dead_daemons_socket_is_replaced_a_live_ones_is_not() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join(SOCKET_NAME);
        let first = bind(&path).expect("nobody is there");
        let mode = fs::metadata(&path).expect("is there").permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        assert!(matches!(bind(&path), Err(BindError::InUse { .. })));
        drop(first);
        bind(&path).expect("its owner is dead");
    }

    #[tokio::test]
    async fn other_files_are_never_replaced() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join(SOCKET_NAME);
        fs::write(&path, "precious").expect("written");
        assert!(matches!(bind(&path), Err(BindError::NotASocket { .. })));
        assert_eq!(fs::read(&path).expect("still there"), b"precious");
    }

    #[tokio::test]
    async fn a_path_that_is_too_long_is_named() {
        let path = Path::new("/tmp").join("x".repeat(120)).join(SOCKET_NAME);
        assert!(matches!(bind(&path), Err(BindError::PathTooLong { .. })));
    }
}
