//! How a node becomes a member: what it asks, what it is given, and who decides.
//!
//! The token is checked here; the certificate is signed here; that there is a new member is agreed on
//! through Raft before it is told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use swarm_model::cluster::{Cluster, LimitedToken};
use swarm_model::command::{Actor, NewNode, Op};
use swarm_model::id::{ClusterId, NodeId, RequestId, TokenId};
use swarm_model::node::{Availability, NodeDescription, NodeSpec, Role};
use swarm_model::outcome::{Done, Rejection};
use swarm_model::units::Timestamp;
use swarm_net::ca::JoinToken;
use swarm_net::frame;
use swarm_net::rpc::{Refusal, RefusalCode};
use swarm_raft::Error;

use crate::config::Peers;
use crate::core::Core;
use crate::keys::ManagerKeys;

/// So many rotations back a replaced token is still told from an unknown one.
const ROTATIONS_KNOWN: u64 = 100;
/// What to do about a token that opens nothing.
const GET_NEW: &str = "get one with `swarm join-token` on a manager";
/// How far a joining node's clock may be off.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(300);

/// What a new node asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The secret of its token.
    pub secret: [u8; 16],
    /// A certificate request for its key, DER.
    pub certificate_request: Vec<u8>,
    /// What it says of itself.
    pub description: NodeDescription,
    /// Whether it takes tasks.
    pub availability: Availability,
    /// Where peers reach it; with an unspecified address, the one that its packets come from.
    pub advertise: SocketAddr,
    /// Its wall clock.
    pub now: Timestamp,
}

/// What it is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinGrant {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// Its id.
    pub node_id: NodeId,
    /// Its role, by the token.
    pub role: Role,
    /// Its certificate, DER.
    pub certificate: Vec<u8>,
    /// The CA's certificate, DER.
    pub ca_certificate: Vec<u8>,
    /// Where it is reached.
    pub addr: SocketAddr,
    /// The other members.
    pub peers: Peers,
    /// Log entries between snapshots.
    pub snapshot_interval: u64,
    /// For managers: [`ManagerKeys::encode`].
    pub manager_keys: Option<Bytes>,
}

fn refuse(code: RefusalCode, message: impl Into<String>) -> Refusal {
    Refusal::new(code, message)
}

/// Answers a node that wants to join; `from` is where its packets come from.
///
/// # Errors
/// When this node does not lead (the detail tells the leader's address), or for what is wrong with the
/// request. Nothing was changed then.
pub async fn serve(core: Arc<Core>, from: SocketAddr, body: Bytes) -> Result<Bytes, Refusal> {
    let request: JoinRequest =
        frame::decode(&body).map_err(|error| refuse(RefusalCode::Malformed, error.to_string()))?;
    let leader = core.leader();
    if leader != Some(core.id) {
        return Err(elsewhere(&core, leader));
    }
    let keys = core.keys.keys().ok_or_else(|| {
        refuse(RefusalCode::Unavailable, "the leader has no CA key yet: try again shortly")
    })?;
    check_clock(core.clock.now(), request.now)?;
    let view = core.consensus.view();
    let cluster = view.cluster.as_deref().ok_or_else(|| {
        refuse(RefusalCode::Unavailable, "the cluster is still being set up: try again")
    })?;
    let (role, token) = open_token(cluster, &keys, &request.secret, core.clock.now())?;
    let mut addr = request.advertise;
    if addr.ip().is_unspecified() {
        addr.set_ip(from.ip());
    }
    let validity = Duration::from_millis(cluster.spec.cert_expiry_ms);
    let spec = NodeSpec { role, availability: request.availability, labels: BTreeMap::new() };
    let (description, addr_text) = (request.description, addr.to_string());
    let id = NodeId::from_raw(core.draw());
    let node = NewNode { id, spec, description, addr: addr_text, token };
    let node_id = add(&core, request_of(&request.certificate_request), node).await?;
    let certificate = keys
        .root
        .issue(&request.certificate_request, node_id, role, core.clock.now(), validity)
        .map_err(|error| refuse(RefusalCode::Invalid, error.to_string()))?;
    let mut peers: Peers = view
        .nodes
        .values()
        .filter_map(|node| node.status.addr.parse().ok().map(|addr| (node.id, addr)))
        .collect();
    peers.insert(core.id, core.addr);
    let grant = JoinGrant {
        cluster_id: core.cluster_id,
        node_id,
        role,
        certificate,
        ca_certificate: keys.root.cert_der().to_vec(),
        addr,
        peers,
        snapshot_interval: cluster.spec.snapshot_interval,
        manager_keys: (role == Role::Manager).then(|| keys.encode()),
    };
    Ok(frame::encode(&grant))
}

fn elsewhere(core: &Core, leader: Option<NodeId>) -> Refusal {
    let addr = leader.and_then(|leader| core.transport.address(leader));
    match addr {
        Some(addr) => refuse(RefusalCode::NotLeader, format!("the leader is at {addr}"))
            .with_detail(frame::encode(&addr)),
        None => refuse(
            RefusalCode::Unavailable,
            "the cluster has no leader right now: check `swarm status` on a member, then try again",
        ),
    }
}

fn check_clock(ours: Timestamp, theirs: Timestamp) -> Result<(), Refusal> {
    let apart = ours.since(theirs).max(theirs.since(ours));
    if apart <= CLOCK_TOLERANCE {
        return Ok(());
    }
    let message = format!(
        "the clock of the joining node is {} s away from the cluster's ({theirs} against {ours}): \
         set it, then join again",
        apart.as_secs()
    );
    Err(refuse(RefusalCode::Invalid, message))
}

/// What a token's secret makes of its bearer.
fn open_token(
    cluster: &Cluster,
    keys: &ManagerKeys,
    secret: &[u8; 16],
    now: Timestamp,
) -> Result<(Role, Option<TokenId>), Refusal> {
    let given = JoinToken::new(keys.root.digest(), *secret);
    for role in [Role::Worker, Role::Manager] {
        if given.opens(&keys.secret.token_secret(role, cluster.tokens.of(role))) {
            return Ok((role, None));
        }
    }
    let hashed = digest(&SHA256, secret);
    let mut limited = cluster.limited_tokens.iter();
    match limited.find(|(_, token)| token.secret_sha256 == *hashed.as_ref()) {
        Some((_, LimitedToken { expires_at: Some(end), .. })) if *end <= now => {
            Err(refuse(RefusalCode::Invalid, format!("the join token expired at {end}: {GET_NEW}")))
        }
        // One that is used up may come from who used it and did not hear the answer: the state tells.
        Some((id, token)) => Ok((token.role, Some(*id))),
        None => Err(refuse(RefusalCode::Invalid, why_unknown(cluster, keys, &given))),
    }
}

fn why_unknown(cluster: &Cluster, keys: &ManagerKeys, given: &JoinToken) -> String {
    for role in [Role::Worker, Role::Manager] {
        let current = cluster.tokens.of(role);
        let mut old = current.saturating_sub(ROTATIONS_KNOWN)..current;
        if old.any(|rotation| given.opens(&keys.secret.token_secret(role, rotation))) {
            return format!("the join token was replaced with --rotate: {GET_NEW}");
        }
    }
    format!(
        "the cluster does not know this join token: look whether all of it was copied, or {GET_NEW}"
    )
}

/// A join that is asked again with the same key is the same join: it makes no second member and
/// takes no second use of its token.
fn request_of(certificate_request: &[u8]) -> RequestId {
    let hashed = digest(&SHA256, certificate_request);
    let bits = hashed.as_ref().iter().take(16).fold(0, |bits, byte| bits << 8 | u128::from(*byte));
    RequestId::from_raw(bits)
}

/// Adds the member; gives the id that it has.
async fn add(core: &Core, request: RequestId, node: NewNode) -> Result<NodeId, Refusal> {
    let actor = Actor { node: core.id, uid: None };
    let command = core.command_of(actor, request, Op::AddNode(node));
    match core.consensus.propose(&command).await {
        Ok(applied) => match applied.outcome {
            Ok(Done::Node(id, _)) => Ok(id),
            Ok(other) => Err(refuse(RefusalCode::Internal, format!("not a member: {other:?}"))),
            Err(Rejection::TokenExpired) => {
                Err(refuse(RefusalCode::Invalid, format!("the join token is used up: {GET_NEW}")))
            }
            Err(rejection) => Err(refuse(RefusalCode::Invalid, rejection.to_string())),
        },
        Err(Error::NotLeader { leader }) => Err(elsewhere(core, leader)),
        Err(error) => Err(refuse(RefusalCode::Unavailable, error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_model::cluster::{ClusterSpec, TokenRotation};
    use swarm_model::meta::Meta;
    use swarm_net::ca::{ClusterSecret, Root};

    const NOW: Timestamp = Timestamp::from_millis(1_000_000_000);

    fn keys() -> ManagerKeys {
        let root = Root::create(ClusterId::from_raw(1), NOW).expect("a CA");
        ManagerKeys { root, secret: ClusterSecret::generate().expect("a secret") }
    }

    fn cluster() -> Cluster {
        Cluster {
            id: ClusterId::from_raw(1),
            meta: Meta::default(),
            spec: ClusterSpec::default(),
            tokens: TokenRotation::default(),
            limited_tokens: BTreeMap::new(),
            ca_certificate: Vec::new(),
            epoch: Default::default(),
            left_out: Default::default(),
        }
    }

    #[test]
    fn clocks_may_differ_by_the_tolerance_and_no_more() {
        let check = |theirs, expect| {
            let checked = check_clock(NOW, theirs);
            assert_eq!(checked.is_ok(), expect, "{theirs}");
            if let Err(refusal) = checked {
                assert!(refusal.message.contains("301 s away"), "{}", refusal.message);
            }
        };
        let before = |seconds: u64| Timestamp::from_millis(1_000_000_000 - seconds * 1000);
        check(NOW, true);
        check(NOW.after(CLOCK_TOLERANCE), true);
        check(before(300), true);
        check(NOW.after(Duration::from_secs(301)), false);
        check(before(301), false);
    }

    #[test]
    fn a_token_opens_the_role_it_was_made_for_until_it_is_rotated() {
        let (keys, mut cluster) = (keys(), cluster());
        let secret =
            |cluster: &Cluster, role| keys.secret.token_secret(role, cluster.tokens.of(role));
        for role in [Role::Worker, Role::Manager] {
            let opened = open_token(&cluster, &keys, &secret(&cluster, role), NOW);
            assert_eq!(opened, Ok((role, None)));
        }
        let old = secret(&cluster, Role::Worker);
        cluster.tokens.worker += 1;
        let check = |secret: [u8; 16], expect: &str| {
            let refusal = open_token(&cluster, &keys, &secret, NOW).expect_err("opens nothing");
            assert!(refusal.message.contains(expect), "{}", refusal.message);
        };
        check(old, "was replaced");
        check(self::keys().secret.token_secret(Role::Worker, 1), "does not know");
        check([0; 16], "does not know");
    }

    #[test]
    fn a_limited_token_opens_until_its_end() {
        let (keys, mut cluster) = (keys(), cluster());
        let (id, secret) = (TokenId::from_raw(5), [7; 16]);
        let token = LimitedToken {
            secret_sha256: digest(&SHA256, &secret).as_ref().try_into().expect("32 bytes"),
            role: Role::Manager,
            expires_at: Some(NOW),
            uses_left: Some(1),
        };
        cluster.limited_tokens.insert(id, token);
        let open = |at| open_token(&cluster, &keys, &secret, at);
        let before = Timestamp::from_millis(1_000_000_000 - 1);
        assert_eq!(open(before), Ok((Role::Manager, Some(id))));
        let late = open(NOW).expect_err("it ends now");
        assert!(late.message.contains("expired at"), "{}", late.message);
    }
}
