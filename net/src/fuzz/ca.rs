//! Certificates, requests for them, the files of keys, and join tokens.
//!
//! The keys beside this file belong to nobody: with fixed ones a seed replays.

use std::time::Duration;

use swarm_model::fuzz::Target;
use swarm_model::id::NodeId;
use swarm_model::node::Role;
use swarm_model::units::Timestamp;

use crate::ca::certificate::NodeCertificate;
use crate::ca::{Identity, JoinToken, Root};

/// The file of a CA.
pub const ROOT_PEM: &str = include_str!("ca.pem");
const IDENTITY_PEM: &str = include_str!("identity.pem");

/// A peer's certificate.
pub(super) const CERTIFICATE: Target = Target::new(
    "net.certificate",
    |bytes| NodeCertificate::read(bytes).is_ok(),
    || vec![identity().cert_der().to_vec(), identity().ca_der().to_vec()],
);
/// A stranger's request for one.
pub(super) const REQUEST: Target = Target::new("net.certificate-request", issue, || {
    vec![identity().key().request().expect("signed")]
});
/// The CA's file, and what managers give each other.
pub(super) const ROOT: Target = Target::new("net.ca-file", root_file, || vec![ROOT_PEM.into()]);
/// A node's own file.
pub(super) const IDENTITY: Target =
    Target::new("net.identity-file", identity_file, || vec![IDENTITY_PEM.into()]);
/// What people paste.
pub(super) const TOKEN: Target = Target::new("net.token", token, || {
    vec![JoinToken::new([0xab; 32], [0xcd; 16]).to_string().into_bytes()]
});

fn root() -> Root {
    Root::from_pem(ROOT_PEM).expect("is a CA")
}

fn identity() -> Identity {
    Identity::from_pem(IDENTITY_PEM).expect("is an identity")
}

fn issue(bytes: &[u8]) -> bool {
    thread_local!(static ROOT: Root = root());
    let now = Timestamp::from_millis(1_800_000_000_000);
    let (node, validity) = (NodeId::from_raw(9), Duration::from_secs(3600));
    let Ok(issued) = ROOT.with(|root| root.issue(bytes, node, Role::Worker, now, validity)) else {
        return false;
    };
    let read = NodeCertificate::read(&issued).expect("was just issued");
    assert_eq!((read.node_id, read.role), (node, Role::Worker), "a request had a say");
    true
}

fn root_file(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| Root::from_pem(text).is_ok())
}

fn identity_file(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| Identity::from_pem(text).is_ok())
}

fn token(bytes: &[u8]) -> bool {
    let Some(token) = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()) else {
        return false;
    };
    let token: JoinToken = token;
    let again: JoinToken = token.to_string().parse().expect("was just printed");
    assert_eq!((again.ca_digest, again.secret()), (token.ca_digest, token.secret()));
    true
}
