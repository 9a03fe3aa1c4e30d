//! The one call of a node that has no identity yet: to a manager whose CA its token pins.
//!
//! Nothing is sent before the peer has shown a certificate of that CA, and one of a manager.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, Endpoint};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use swarm_model::clock::Clock;
use swarm_model::node::Role;
use tokio::time::{Instant, timeout_at};

use super::admit::Hello;
use super::client::{Fault, attempt};
use super::tls::{self, WallClock};
use super::{codes, limits};
use crate::Error;
use crate::ca::certificate::NodeCertificate;
use crate::ca::digest;
use crate::frame;
use crate::rpc::{Lane, Method, Refusal};
use crate::transport::CallError;

/// The name asked for: a joining node does not know its peer's id yet.
const NAME: &str = "join.swarm";

/// Sends `body` to the first of `addrs` that answers as a manager of the cluster whose CA has the
/// SHA-256 `ca_digest`, and gives its answer.
///
/// # Errors
/// What is wrong with the addresses, the cluster, the clocks, or the cluster's refusal. A refusal that
/// another time or place may not give (who leads, not now) is the error when no address did
/// better. Only [`Error::NoAnswer`] leaves it open whether the request was carried out.
pub async fn join_call(
    addrs: &[SocketAddr],
    ca_digest: [u8; 32],
    body: Bytes,
    deadline: Duration,
    clock: Arc<dyn Clock>,
) -> Result<Bytes, Error> {
    let deadline = Instant::now() + deadline;
    let mut tried = Vec::new();
    let mut refused = None;
    for (index, &addr) in addrs.iter().enumerate() {
        // Each address gets its share of the time that is left, the last one all of it.
        let left = u32::try_from(addrs.len() - index).unwrap_or(u32::MAX);
        let now = Instant::now();
        let until = now + deadline.saturating_duration_since(now) / left;
        match ask(addr, ca_digest, body.clone(), until, &clock).await {
            Ok(answer) => return Ok(answer),
            Err(Attempt::Final(error)) => return Err(error),
            Err(Attempt::Next(reason)) => tried.push(format!("{addr}: {reason}")),
            // Who knows the leader need not be asked again: the leader should be.
            Err(Attempt::Refused(refusal)) if !refusal.detail.is_empty() => {
                return Err(Error::Refused(refusal));
            }
            Err(Attempt::Refused(refusal)) => {
                tried.push(format!("{addr}: {}", refusal.message));
                refused = Some(refusal);
            }
        }
    }
    if let Some(refusal) = refused {
        return Err(Error::Refused(Refusal { message: tried.join(", "), ..refusal }));
    }
    Err(Error::Unreachable { tried: tried.join(", ") })
}

/// How one address failed.
enum Attempt {
    /// The next one may do better.
    Next(String),
    /// It is the wrong one, or not now.
    Refused(Refusal),
    /// So would every other.
    Final(Error),
}

async fn ask(
    addr: SocketAddr,
    ca_digest: [u8; 32],
    body: Bytes,
    until: Instant,
    clock: &Arc<dyn Clock>,
) -> Result<Bytes, Attempt> {
    let connection = connect(addr, ca_digest, until, clock).await?;
    let asking = attempt(&connection, Method::Join, body, until);
    let result = timeout_at(until, asking).await;
    connection.close(codes::DONE, b"");
    match result {
        Ok(Ok((answer, _stream))) => Ok(answer),
        Ok(Err(Fault::Call(CallError::Refused(refusal)))) => Err(if refusal.code.is_temporary() {
            Attempt::Refused(refusal)
        } else {
            Attempt::Final(Error::Refused(refusal))
        }),
        Ok(Err(Fault::NotSent)) => Err(Attempt::Next("the connection was lost".to_owned())),
        Ok(Err(Fault::Call(error))) if !error.may_have_executed() => {
            Err(Attempt::Next(error.to_string()))
        }
        Ok(Err(Fault::Call(_))) | Err(_) => Err(Attempt::Final(Error::NoAnswer { addr })),
    }
}

async fn connect(
    addr: SocketAddr,
    ca_digest: [u8; 32],
    until: Instant,
    clock: &Arc<dyn Clock>,
) -> Result<Connection, Attempt> {
    let pin = Arc::new(PinnedCa::new(ca_digest, addr));
    let config = tls::client(
        Lane::Join,
        |config| {
            let pinned = config.dangerous().with_custom_certificate_verifier(pin.clone());
            Ok(pinned.with_no_client_auth())
        },
        &WallClock(clock.clone()),
    )
    .map_err(Attempt::Final)?;
    let own = match addr {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let endpoint = Endpoint::client(own)
        .map_err(|source| Attempt::Final(Error::Bind { addr: own, source }))?;
    let connecting = endpoint
        .connect_with(config, addr, NAME)
        .map_err(|error| Attempt::Next(error.to_string()))?;
    let dialing = async {
        let connection = connecting.await.map_err(|error| error.to_string())?;
        let mut greeting = connection.accept_uni().await.map_err(|error| error.to_string())?;
        let hello = greeting.read_to_end(limits::HELLO_SIZE).await;
        let hello = hello.map_err(|error| error.to_string())?;
        frame::decode::<Hello>(&hello).map_err(|error| error.to_string())?;
        Ok(connection)
    };
    let reason =
        match timeout_at(until.min(Instant::now() + limits::HANDSHAKE_DEADLINE), dialing).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(reason)) => reason,
            Err(_elapsed) => "no answer".to_owned(),
        };
    Err(pin.verdict().map_or(Attempt::Next(reason), Attempt::Final))
}

/// Trusts the one CA whose digest it knows, and of its certificates those of managers.
#[derive(Debug)]
struct PinnedCa {
    digest: [u8; 32],
    addr: SocketAddr,
    provider: Arc<CryptoProvider>,
    /// Why the peer was not trusted: the handshake's own error says less.
    verdict: Mutex<Option<Error>>,
}

impl PinnedCa {
    fn new(digest: [u8; 32], addr: SocketAddr) -> Self {
        Self { digest, addr, provider: tls::provider(), verdict: Mutex::new(None) }
    }

    fn verdict(&self) -> Option<Error> {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let addr = self.addr;
        let ca = chain
            .iter()
            .find(|certificate| digest(certificate) == self.digest)
            .ok_or(Error::WrongCluster { addr })?;
        let mut roots = RootCertStore::empty();
        let fault = |error: rustls::Error| Error::certificate("peer's certificate", error);
        roots.add(ca.clone().into_owned()).map_err(fault)?;
        let parsed = ParsedCertificate::try_from(leaf).map_err(fault)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], now, algorithms).map_err(
            |error| match &error {
                rustls::Error::InvalidCertificate(
                    CertificateError::Expired
                    | CertificateError::ExpiredContext { .. }
                    | CertificateError::NotValidYet
                    | CertificateError::NotValidYetContext { .. },
                ) => Error::ClockSkew { addr, reason: error.to_string() },
                rustls::Error::InvalidCertificate(
                    CertificateError::UnknownIssuer | CertificateError::BadSignature,
                ) => Error::WrongCluster { addr },
                _ => Error::certificate("peer's certificate", error),
            },
        )?;
        match NodeCertificate::read(leaf)?.role {
            Role::Manager => Ok(()),
            Role::Worker => Err(Error::NotManager { addr }),
        }
    }
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.judge(leaf, chain, now).map(|()| ServerCertVerified::assertion()).map_err(|error| {
            *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
        })
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // QUIC has TLS 1.3 only.
        Err(rustls::Error::General("tls 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
