//! TLS 1.3 with the cluster's own CA, both ways: the settings for accepting and for dialing.
//!
//! Members prove themselves by certificate; on the join lane a caller may come without one. Sessions
//! are never resumed, so that every connection proves everything anew.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use swarm_model::clock::Clock;

use super::limits;
use crate::Error;
use crate::ca::Identity;
use crate::rpc::Lane;

const WHAT: &str = "node identity";

/// The injected wall clock, as rustls and quinn want it.
#[derive(Debug, Clone)]
pub(crate) struct WallClock(pub(crate) Arc<dyn Clock>);

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        let since_epoch = Duration::from_millis(self.0.now().as_millis());
        Some(UnixTime::since_unix_epoch(since_epoch))
    }
}

impl quinn::TimeSource for WallClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.0.now().as_millis())
    }
}

/// Both sides' settings for one identity.
pub(crate) struct Credentials {
    pub(crate) accept: quinn::ServerConfig,
    rpc: quinn::ClientConfig,
    raft: quinn::ClientConfig,
    gossip: quinn::ClientConfig,
}

impl Credentials {
    pub(crate) fn new(identity: &Identity, clock: &WallClock) -> Result<Self, Error> {
        let dial = |lane| client(lane, |config| member_config(config, identity), clock);
        Ok(Self {
            accept: server(identity, clock)?,
            rpc: dial(Lane::Rpc)?,
            raft: dial(Lane::Raft)?,
            gossip: dial(Lane::Gossip)?,
        })
    }

    /// The settings to dial a member on `lane`; members never dial each other to join.
    pub(crate) fn dial(&self, lane: Lane) -> quinn::ClientConfig {
        match lane {
            Lane::Join | Lane::Rpc => self.rpc.clone(),
            Lane::Raft => self.raft.clone(),
            Lane::Gossip => self.gossip.clone(),
        }
    }
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(identity: &Identity) -> Result<Arc<RootCertStore>, Error> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(identity.ca_der().to_vec()))
        .map_err(|error| Error::certificate("cluster CA", error))?;
    Ok(Arc::new(roots))
}

/// The node's certificate with the CA behind it, for joining nodes that know only its digest.
fn chain(identity: &Identity) -> Vec<CertificateDer<'static>> {
    [identity.cert_der(), identity.ca_der()].map(|der| CertificateDer::from(der.to_vec())).to_vec()
}

fn key(identity: &Identity) -> PrivateKeyDer<'static> {
    PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key().pkcs8().to_vec()))
}

fn server(identity: &Identity, clock: &WallClock) -> Result<quinn::ServerConfig, Error> {
    let fault = |error: rustls::Error| Error::certificate(WHAT, error);
    let members = WebPkiClientVerifier::builder_with_provider(roots(identity)?, provider())
        .allow_unauthenticated()
        .build()
        .map_err(|error| Error::certificate(WHAT, error))?;
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(clock.clone()))
        .with_protocol_versions(&[&TLS13])
        .map_err(fault)?
        .with_client_cert_verifier(members)
        .with_single_cert(chain(identity), key(identity))
        .map_err(fault)?;
    config.alpn_protocols = Lane::ALL.iter().map(|lane| lane.protocol().to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    let crypto =
        QuicServerConfig::try_from(config).map_err(|error| Error::certificate(WHAT, error))?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(limits::accepting())
        .time_source(Arc::new(clock.clone()))
        .max_incoming(limits::WAITING_INITIALS)
        .incoming_buffer_size(limits::INITIAL_BYTES)
        .incoming_buffer_size_total(limits::ALL_INITIAL_BYTES);
    Ok(config)
}

type Verifying = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;

fn member_config(config: Verifying, identity: &Identity) -> Result<ClientConfig, Error> {
    config
        .with_root_certificates(roots(identity)?)
        .with_client_auth_cert(chain(identity), key(identity))
        .map_err(|error| Error::certificate(WHAT, error))
}

/// The settings to dial on `lane`; `authenticate` adds whom to trust and who we are.
pub(crate) fn client(
    lane: Lane,
    authenticate: impl FnOnce(Verifying) -> Result<ClientConfig, Error>,
    clock: &WallClock,
) -> Result<quinn::ClientConfig, Error> {
    let config = ClientConfig::builder_with_details(provider(), Arc::new(clock.clone()))
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| Error::certificate(WHAT, error))?;
    let mut config = authenticate(config)?;
    config.alpn_protocols = vec![lane.protocol().to_vec()];
    config.resumption = Resumption::disabled();
    let crypto =
        QuicClientConfig::try_from(config).map_err(|error| Error::certificate(WHAT, error))?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(limits::dialing(lane));
    Ok(config)
}
