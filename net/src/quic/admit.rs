//! Who is at the other end of an accepted connection: lane and certificate, checked before it may speak.
//!
//! Single calls are checked again by `rpc::admission`, since roles change while connections live.

use std::net::SocketAddr;

use quinn::Connection;
use quinn::VarInt;
use quinn::crypto::rustls::HandshakeData;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use swarm_model::epoch::Epoch;
use swarm_model::id::NodeId;
use swarm_model::node::Role;
use swarm_model::units::Timestamp;

use super::shared::Shared;
use super::{codes, epochs};
use crate::ca::certificate::NodeCertificate;
use crate::rpc::{Lane, admission};

/// What the accepting side says first: only then does the dialing side know that it was admitted
/// (in TLS 1.3 a finished handshake does not say so).
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// Where the dialing side's packets come from.
    pub(crate) observed: SocketAddr,
    /// The accepting side's epoch, if it knows.
    pub(crate) epoch: Option<Epoch>,
}

/// The other end of an accepted connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guest {
    /// Nobody knows who; on the join lane.
    Stranger,
    /// The node that its certificate names, in the role and until the moment that the certificate names.
    Node(NodeId, Role, Timestamp),
}

/// Why a connection is closed at once.
#[derive(Debug)]
pub(crate) struct Rejection {
    pub(crate) code: VarInt,
    pub(crate) reason: String,
    /// For a node that was removed: what it is told instead of the reason.
    pub(crate) farewell: Option<Vec<u8>>,
}

fn reject(code: VarInt, reason: impl ToString) -> Rejection {
    Rejection { code, reason: reason.to_string(), farewell: None }
}

pub(crate) fn admit(shared: &Shared, connection: &Connection) -> Result<(Lane, Guest), Rejection> {
    let lane = connection
        .handshake_data()
        .and_then(|data| data.downcast::<HandshakeData>().ok())
        .and_then(|data| data.protocol)
        .and_then(|protocol| Lane::from_protocol(&protocol))
        .ok_or_else(|| reject(codes::NOT_ADMITTED, "unknown protocol"))?;
    if lane == Lane::Join {
        return Ok((lane, Guest::Stranger));
    }
    let chain = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
        .unwrap_or_default();
    let leaf = chain
        .first()
        .ok_or_else(|| reject(codes::NOT_ADMITTED, "a certificate is needed on this lane"))?;
    let certificate =
        NodeCertificate::read(leaf).map_err(|error| reject(codes::NOT_ADMITTED, error))?;
    if certificate.cluster_id != shared.cluster_id {
        return Err(reject(codes::NOT_ADMITTED, "the certificate is of another cluster"));
    }
    if certificate.node_id == shared.me {
        return Err(reject(codes::NOT_ADMITTED, "the certificate is this node's own: a copy runs"));
    }
    admission::admit(&*shared.members, certificate.node_id, certificate.role).map_err(
        |refusal| Rejection {
            farewell: Some(epochs::removal(shared)),
            ..reject(codes::REMOVED, refusal)
        },
    )?;
    Ok((lane, Guest::Node(certificate.node_id, certificate.role, certificate.expires_at)))
}
