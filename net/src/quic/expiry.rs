//! Certificates run out while connections live: what the handshake has checked is checked again.
//!
//! Each call is checked where it is served; here is what streams that go on are ended by.

use std::sync::Arc;

use quinn::Connection;
use rustls::pki_types::CertificateDer;
use tokio::time::sleep;

use super::shared::Shared;
use super::{codes, limits};
use crate::ca::certificate::NodeCertificate;

/// What the peer of a connection that is closed for this hears.
pub(crate) const REASON: &[u8] = b"the certificate has expired: it must be renewed";

/// Closes, now and then, every connection whose peer's certificate has expired; until the mesh closes.
pub(crate) async fn run(shared: Arc<Shared>) {
    let looking = async {
        loop {
            sleep(limits::EXPIRY_CHECK).await;
            sweep(&shared);
        }
    };
    tokio::select! {
        () = shared.closing.cancelled() => {}
        () = looking => {}
    }
}

/// One look at every connection, dialed or accepted.
pub(crate) fn sweep(shared: &Shared) {
    let all = shared.inbound.all().into_iter().chain(shared.pool.all());
    for connection in all.filter(|connection| has_expired(shared, connection)) {
        tracing::info!(peer = %connection.remote_address(), "the peer's certificate has expired");
        connection.close(codes::EXPIRED, REASON);
    }
}

fn has_expired(shared: &Shared, connection: &Connection) -> bool {
    let now = shared.clock.0.now();
    certificate(connection).is_some_and(|certificate| now > certificate.expires_at)
}

/// The other end's certificate, which the handshake has checked.
pub(crate) fn certificate(connection: &Connection) -> Option<NodeCertificate> {
    let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
    NodeCertificate::read(chain.first()?).ok()
}
