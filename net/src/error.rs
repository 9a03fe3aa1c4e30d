//! What goes wrong besides a call: binding, identities, tokens, joining.
//!
//! Failed calls are `transport::CallError`, bad frames `frame::FrameError`.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::rpc::Refusal;

/// A failure of this crate outside a call. Nothing was changed unless the variant says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another program has the port. Stop it or choose another address.
    #[error("udp port {addr} is in use: stop the program that has it, or choose another port")]
    PortInUse {
        /// The address that was asked for.
        addr: SocketAddr,
    },
    /// The address does not belong to this machine. Choose another.
    #[error("{addr} is not an address of this machine: choose one that is, or 0.0.0.0")]
    AddressUnavailable {
        /// The address that was asked for.
        addr: SocketAddr,
    },
    /// The socket cannot be opened for another reason.
    #[error("udp port {addr} cannot be opened")]
    Bind {
        /// The address that was asked for.
        addr: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A certificate, key or signing request is not what it must be. Trying again fails again.
    #[error("the {what} is not usable: {reason}")]
    Certificate {
        /// Which object.
        what: &'static str,
        /// Why.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("{} cannot be {action}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A text is no join token. Copy it again.
    #[error("this is not a join token: {reason}")]
    Token {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The node at the address is of another cluster than the token. Nothing secret was sent.
    #[error(
        "{addr} does not belong to the cluster of this token: check the address, \
         or get a new token from that cluster with `swarm join-token`"
    )]
    WrongCluster {
        /// The address.
        addr: SocketAddr,
    },
    /// The node at the address is a worker. Nothing secret was sent.
    #[error("{addr} is a worker, only managers let nodes join: give the address of a manager")]
    NotManager {
        /// The address.
        addr: SocketAddr,
    },
    /// The peer's certificate is not valid at this machine's time: one of the clocks is far off.
    #[error(
        "the certificate of {addr} is not valid at this machine's time ({reason}): \
         set the clocks of both machines"
    )]
    ClockSkew {
        /// The address.
        addr: SocketAddr,
        /// What the check says.
        reason: String,
    },
    /// None of the addresses answered.
    #[error("no node answers: {tried}: check the addresses, and that UDP passes the firewall")]
    Unreachable {
        /// Each address with its reason.
        tried: String,
    },
    /// The time was up after the request was sent: the cluster may know this node now.
    #[error("{addr} did not answer the request in time; it may have been carried out: try again")]
    NoAnswer {
        /// The address.
        addr: SocketAddr,
    },
    /// The cluster said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Error {
    pub(crate) fn certificate(what: &'static str, reason: impl ToString) -> Self {
        Self::Certificate { what, reason: reason.to_string() }
    }
}
