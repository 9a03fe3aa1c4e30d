//! The one UDP socket, and what must outlive a restart on it.
//!
//! Connection ids and reset tokens come from the node's key: a restarted node knows the packets of
//! its former life and resets those connections at once, instead of leaving them to time out.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use quinn_proto::HashedConnectionIdGenerator;
use ring::hmac;

use crate::Error;
use crate::ca::NodeKey;

pub(crate) fn bind(
    addr: SocketAddr,
    key: &NodeKey,
    accept: quinn::ServerConfig,
) -> Result<Endpoint, Error> {
    let socket = UdpSocket::bind(addr).map_err(|source| match source.kind() {
        ErrorKind::AddrInUse => Error::PortInUse { addr },
        ErrorKind::AddrNotAvailable => Error::AddressUnavailable { addr },
        _ => Error::Bind { addr, source },
    })?;
    let mut config =
        EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &key.derive("reset"))));
    let [c0, c1, c2, c3, c4, c5, c6, c7, ..] = key.derive("connection ids");
    let ids = u64::from_be_bytes([c0, c1, c2, c3, c4, c5, c6, c7]);
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
    Endpoint::new(config, Some(accept), socket, Arc::new(TokioRuntime))
        .map_err(|source| Error::Bind { addr, source })
}
