//! Where a node is: `--host unix:///path/swarm.sock`, or the socket in its data directory.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::exit::Failure;

/// Name of the socket in a data directory.
pub(crate) const SOCKET: &str = "swarm.sock";

/// A node's Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    socket: PathBuf,
}

impl Endpoint {
    /// The socket of the node with this data directory.
    pub(crate) fn of_data_dir(data_dir: &Path) -> Self {
        Self { socket: data_dir.join(SOCKET) }
    }

    /// Reads `--host`.
    ///
    /// # Errors
    /// When it is not `unix://PATH`.
    pub(crate) fn parse(host: &str) -> Result<Self, Failure> {
        match host.strip_prefix("unix://") {
            Some(path) if path.starts_with('/') => Ok(Self { socket: path.into() }),
            _ => Err(Failure::usage(format!(
                "host \"{host}\" is not understood: write unix:///PATH/swarm.sock"
            ))),
        }
    }

    /// The socket.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unix://{}", self.socket.display())
    }
}

/// Percent-encodes one path segment or query value.
pub(crate) fn encode(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(char::from(HEX[usize::from(byte >> 4)]));
            encoded.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_unix_sockets() {
        let endpoint = Endpoint::parse("unix:///run/a/swarm.sock").expect("is valid");
        assert_eq!(endpoint.socket(), Path::new("/run/a/swarm.sock"));
        for host in ["", "tcp://x:1", "unix://relative", "/run/a"] {
            assert!(Endpoint::parse(host).is_err(), "{host}");
        }
    }

    #[test]
    fn segments_are_percent_encoded() {
        assert_eq!(encode("web.1-a_b~"), "web.1-a_b~");
        assert_eq!(encode("a/b ü"), "a%2Fb%20%C3%BC");
    }
}
