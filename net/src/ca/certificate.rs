//! What a node's certificate says: node id, role, cluster, validity. Reading only; TLS has verified it.

use std::time::Duration;

use swarm_model::id::{ClusterId, NodeId};
use swarm_model::node::Role;
use swarm_model::units::Timestamp;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::x509::AttributeTypeAndValue;

use super::root::CLOCK_SKEW;
use crate::Error;

const WHAT: &str = "node certificate";

/// The contents of a node's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeCertificate {
    pub(crate) cluster_id: ClusterId,
    pub(crate) node_id: NodeId,
    pub(crate) role: Role,
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) public_key: Vec<u8>,
}

/// The word for `role` in a certificate's subject.
pub(crate) fn role_word(role: Role) -> &'static str {
    match role {
        Role::Worker => "swarm-worker",
        Role::Manager => "swarm-manager",
    }
}

pub(crate) fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Error> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(Error::certificate("certificate", "bytes follow its end")),
        Err(error) => Err(Error::certificate("certificate", error)),
    }
}

impl NodeCertificate {
    pub(crate) fn read(der: &[u8]) -> Result<Self, Error> {
        let certificate = parse(der)?;
        let subject = certificate.subject();
        let node_id: NodeId = only(subject.iter_common_name(), "node id")?
            .parse()
            .map_err(|error| Error::certificate(WHAT, error))?;
        let cluster_id = cluster_of(&certificate)?;
        let word = only(subject.iter_organizational_unit(), "role")?;
        let role = [Role::Worker, Role::Manager]
            .into_iter()
            .find(|role| role_word(*role) == word)
            .ok_or_else(|| Error::certificate(WHAT, format!("unknown role {word:?}")))?;
        let name = super::server_name(node_id);
        let names = certificate.subject_alternative_name().ok().flatten();
        let named = names.is_some_and(|names| {
            names.value.general_names.iter().any(|known| *known == GeneralName::DNSName(&name))
        });
        if !named {
            return Err(Error::certificate(WHAT, "its name is not that of its node id"));
        }
        let validity = certificate.validity();
        Ok(Self {
            cluster_id,
            node_id,
            role,
            issued_at: stamp(validity.not_before.timestamp()).after(CLOCK_SKEW),
            expires_at: stamp(validity.not_after.timestamp()),
            public_key: certificate.public_key().subject_public_key.data.to_vec(),
        })
    }
}

/// The cluster that a certificate, of a node or of the CA, names.
pub(crate) fn cluster_of(certificate: &X509Certificate<'_>) -> Result<ClusterId, Error> {
    only(certificate.subject().iter_organization(), "cluster id")?
        .parse()
        .map_err(|error| Error::certificate("certificate", error))
}

/// The one attribute that must be there.
fn only<'a>(
    mut attributes: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>,
    what: &str,
) -> Result<&'a str, Error> {
    match (attributes.next(), attributes.next()) {
        (Some(attribute), None) => {
            attribute.as_str().map_err(|error| Error::certificate("certificate", error))
        }
        _ => Err(Error::certificate("certificate", format!("it does not name exactly one {what}"))),
    }
}

fn stamp(seconds: i64) -> Timestamp {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    Timestamp::default().after(Duration::from_secs(seconds))
}
