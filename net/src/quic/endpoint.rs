//! The one UDP socket, and what must outlive a restart on it.
//!
//! Connection ids and reset tokens come from the node's key: a restarted node knows the packets of
//! its former life and resets those connections at once, instead of leaving them to time out.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Weak};
use std::time::Duration;

use quinn::{AsyncUdpSocket, Endpoint, EndpointConfig, Runtime, TokioRuntime};
use quinn_proto::HashedConnectionIdGenerator;
use ring::hmac;
use tokio::time::sleep;

use crate::Error;
use crate::ca::NodeKey;

/// Pause between two looks whether the port is free.
const LOOK: Duration = Duration::from_millis(1);

/// What holds the port: gone when nobody does.
pub(crate) type Port = Weak<dyn AsyncUdpSocket>;

/// Opens the port at `addr`.
///
/// # Errors
/// Why it cannot be had.
pub(crate) fn bind(
    addr: SocketAddr,
    key: &NodeKey,
    accept: quinn::ServerConfig,
) -> Result<(Endpoint, Port), Error> {
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
    let failed = |source| Error::Bind { addr, source };
    let runtime = Arc::new(TokioRuntime);
    let socket = runtime.wrap_udp_socket(socket).map_err(failed)?;
    let port = Arc::downgrade(&socket);
    let endpoint = Endpoint::new_with_abstract_socket(config, Some(accept), socket, runtime);
    Ok((endpoint.map_err(failed)?, port))
}

/// Frees the port of an endpoint that was closed, whatever goes on there: a connection lingers for a few
/// round trips after it was closed, and (quinn-proto 0.11.19) one whose first packet was its last, for as
/// long as any may be silent. Such connections end on a socket that leads nowhere.
///
/// # Errors
/// When the system gives no such socket.
pub(crate) async fn release(endpoint: &Endpoint, port: &Port) -> io::Result<()> {
    // An endpoint listens on the socket before the newest one, too.
    for _ in 0..2 {
        endpoint.rebind(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?)?;
    }
    while port.strong_count() > 0 {
        sleep(LOOK).await;
    }
    Ok(())
}
