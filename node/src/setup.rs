//! Prepares a data directory: the first node of a new cluster, or a new node of an existing one.
//!
//! Starts nothing. Either the directory holds a whole node afterwards, or it is as it was.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use swarm_model::clock::Clock;
use swarm_model::cluster::ClusterSpec;
use swarm_model::id::{ClusterId, NodeId};
use swarm_model::node::{Availability, Role};
use swarm_model::service::SpecError;
use swarm_net::ca::{ClusterSecret, Identity, JoinToken, NodeKey, Root};
use swarm_net::frame;
use swarm_net::quic::join_call;
use swarm_net::rpc::{Refusal, RefusalCode};
use tokio::time::Instant;

use crate::agent::resources;
use crate::claim::Claim;
pub use crate::claim::{DAEMON_LOG, clear};
use crate::config::{self, Bootstrap, ConfigError, NodeConfig};
use crate::join::{JoinGrant, JoinRequest};
use crate::keys::{self, KeyError, ManagerKeys};
use crate::offers::Offers;

/// How long the cluster may take to let a node in, elections included.
const JOIN_PATIENCE: Duration = Duration::from_secs(20);
/// One round of asking all managers that are known.
const JOIN_DEADLINE: Duration = Duration::from_secs(10);
/// A shorter round is not begun.
const SHORTEST_ROUND: Duration = Duration::from_secs(2);
/// Pause before managers that cannot answer now are asked again.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// A new cluster.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// Where the node lives.
    pub data_dir: PathBuf,
    /// The UDP address it listens on.
    pub listen: SocketAddr,
    /// Where peers reach it.
    pub advertise: SocketAddr,
    /// Whether it takes tasks.
    pub availability: Availability,
    /// The cluster's settings.
    pub spec: ClusterSpec,
    /// What it offers beside CPU and memory.
    pub offers: Offers,
}

/// A new node of an existing cluster.
#[derive(Debug, Clone)]
pub struct JoinOptions {
    /// Where the node lives.
    pub data_dir: PathBuf,
    /// The UDP address it listens on.
    pub listen: SocketAddr,
    /// Where peers reach it; the address its packets come from when `None`.
    pub advertise: Option<SocketAddr>,
    /// Whether it takes tasks.
    pub availability: Availability,
    /// The join token.
    pub token: JoinToken,
    /// Managers to ask.
    pub managers: Vec<SocketAddr>,
    /// What it offers beside CPU and memory.
    pub offers: Offers,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The node.
    pub node_id: NodeId,
    /// Its cluster.
    pub cluster_id: ClusterId,
    /// Its role.
    pub role: Role,
    /// Where peers reach it.
    pub advertise: SocketAddr,
}

/// Why a directory was not prepared. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A node lives there.
    #[error(
        "{} already holds a node: leave its cluster first with `swarm leave`, or choose another \
         --data-dir", dir.display()
    )]
    Occupied {
        /// The directory.
        dir: PathBuf,
    },
    /// Another `init` or `join` is at work there.
    #[error(
        "another `swarm init` or `swarm join` is preparing {}: wait for it, or choose another \
         --data-dir", dir.display()
    )]
    Busy {
        /// The directory.
        dir: PathBuf,
    },
    /// Something else lives there.
    #[error("{} is not empty and holds no node: choose another --data-dir", dir.display())]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
    /// It is a file, or something in its path is.
    #[error("{} is not a directory: choose another --data-dir", dir.display())]
    NotDirectory {
        /// What was named.
        dir: PathBuf,
    },
    /// The directory cannot be used.
    #[error("cannot use {}: choose another --data-dir, or make it this user's", dir.display())]
    Dir {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Somebody else has the port.
    #[error(
        "UDP port {addr} is in use: stop the program that has it, or choose another --listen-addr"
    )]
    PortInUse {
        /// The address.
        addr: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The settings are wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The cluster did not let it in, or could not be asked.
    #[error(transparent)]
    Net(#[from] swarm_net::Error),
    /// The answer makes no sense.
    #[error("the cluster's answer makes no sense: {0}")]
    Answer(String),
    /// The settings cannot be kept.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The keys cannot be kept.
    #[error(transparent)]
    Keys(#[from] KeyError),
}

/// Prepares the first node of a new cluster. Blocks on the disk.
///
/// # Errors
/// See [`SetupError`].
pub fn init(
    options: &InitOptions,
    clock: &dyn Clock,
    draw: &mut dyn FnMut() -> u128,
) -> Result<Prepared, SetupError> {
    options.spec.validate()?;
    options.offers.validate()?;
    let dir = Claim::take(&options.data_dir)?;
    check_port(options.listen)?;
    let (cluster_id, node_id) = (ClusterId::from_raw(draw()), NodeId::from_raw(draw()));
    let root = Root::create(cluster_id, clock.now())?;
    let key = NodeKey::generate()?;
    let validity = Duration::from_millis(options.spec.cert_expiry_ms);
    let request = key.request()?;
    let certificate = root.issue(&request, node_id, Role::Manager, clock.now(), validity)?;
    let identity = Identity::new(key, certificate, root.cert_der().to_vec())?;
    identity.save(dir.path())?;
    keys::save(dir.path(), &ManagerKeys { root, secret: ClusterSecret::generate()? })?;
    let config = NodeConfig {
        cluster_id,
        node_id,
        listen: options.listen,
        advertise: options.advertise,
        labels: std::collections::BTreeMap::new(),
        snapshot_interval: options.spec.snapshot_interval,
        bootstrap: Some(Bootstrap {
            spec: options.spec.clone(),
            availability: options.availability,
        }),
        offers: options.offers.clone(),
    };
    config.save(dir.path())?;
    dir.keep();
    Ok(Prepared { node_id, cluster_id, role: Role::Manager, advertise: options.advertise })
}

/// Asks the cluster for membership and prepares the node that it gives.
///
/// # Errors
/// See [`SetupError`].
pub async fn join(options: &JoinOptions, clock: Arc<dyn Clock>) -> Result<Prepared, SetupError> {
    options.offers.validate()?;
    let dir = Claim::take(&options.data_dir)?;
    check_port(options.listen)?;
    let key = NodeKey::generate()?;
    let request = JoinRequest {
        secret: options.token.secret(),
        certificate_request: key.request()?,
        description: resources::describe(
            std::collections::BTreeMap::new(),
            options.offers.counts(),
        ),
        availability: options.availability,
        advertise: options.advertise.unwrap_or(options.listen),
        now: clock.now(),
    };
    let grant = ask(options, &request, clock).await?;
    let prepared = furnish(dir.path(), key, grant, options.listen, options.offers.clone())?;
    dir.keep();
    Ok(prepared)
}

/// Writes into `dir` what makes it the node that `grant` admits. Blocks on the disk.
///
/// # Errors
/// See [`SetupError`]; part of it may have been written.
pub fn furnish(
    dir: &Path,
    key: NodeKey,
    grant: JoinGrant,
    listen: SocketAddr,
    offers: Offers,
) -> Result<Prepared, SetupError> {
    let identity = Identity::new(key, grant.certificate, grant.ca_certificate)?;
    identity.save(dir)?;
    if let Some(bytes) = &grant.manager_keys {
        let keys = ManagerKeys::decode(bytes).map_err(SetupError::Answer)?;
        keys::save(dir, &keys)?;
    }
    config::save_peers(dir, &grant.peers)?;
    let config = NodeConfig {
        cluster_id: grant.cluster_id,
        node_id: grant.node_id,
        listen,
        advertise: grant.addr,
        labels: std::collections::BTreeMap::new(),
        snapshot_interval: grant.snapshot_interval,
        bootstrap: None,
        offers,
    };
    config.save(dir)?;
    Ok(Prepared {
        node_id: grant.node_id,
        cluster_id: grant.cluster_id,
        role: grant.role,
        advertise: grant.addr,
    })
}

/// Asks manager after manager, going where they send us.
async fn ask(
    options: &JoinOptions,
    request: &JoinRequest,
    clock: Arc<dyn Clock>,
) -> Result<JoinGrant, SetupError> {
    let body = frame::encode(request);
    let digest = options.token.ca_digest;
    let answer = ask_all(&options.managers, async |managers: Vec<SocketAddr>, deadline| {
        join_call(&managers, digest, body.clone(), deadline, clock.clone()).await
    });
    frame::decode(&answer.await?).map_err(|error| SetupError::Answer(error.to_string()))
}

/// Calls until somebody answers for good. Who is said to lead is asked first; the others are not
/// forgotten, since a leader may be gone by now. The request may be repeated: it is one request.
async fn ask_all(
    managers: &[SocketAddr],
    mut call: impl AsyncFnMut(Vec<SocketAddr>, Duration) -> Result<Bytes, swarm_net::Error>,
) -> Result<Bytes, SetupError> {
    let began = Instant::now();
    let mut leader: Option<SocketAddr> = None;
    let mut named: Option<SocketAddr> = None;
    loop {
        let others = managers.iter().copied().filter(|addr| Some(*addr) != leader);
        let all: Vec<_> = leader.into_iter().chain(others).collect();
        let left = JOIN_PATIENCE.saturating_sub(began.elapsed());
        let redirected = leader.take().is_some();
        let error = match call(all, left.min(JOIN_DEADLINE)).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let next = next_step(&error, redirected);
        if next == Next::GiveUp {
            return Err(error.into());
        }
        if let Next::Ask(addr) = next {
            leader = Some(addr);
            named = leader;
        }
        // A round that is too short for an answer would hide what the others said.
        if began.elapsed() + ASK_AGAIN + SHORTEST_ROUND >= JOIN_PATIENCE {
            return Err(in_vain(error, named).into());
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// What all the asking came to; `named` is who was said to lead. Pure.
fn in_vain(error: swarm_net::Error, named: Option<SocketAddr>) -> swarm_net::Error {
    match (&error, named) {
        (swarm_net::Error::NoAnswer { .. }, _) | (_, None) => error,
        (_, Some(addr)) => swarm_net::Error::Refused(Refusal::new(
            RefusalCode::Unavailable,
            format!(
                "the cluster's leader at {addr} lets nobody in and no other manager took its place: \
                 there may be no quorum; check `swarm status` on a member, then try again"
            ),
        )),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// The same managers, a little later.
    Again,
    /// This one first.
    Ask(SocketAddr),
    GiveUp,
}

/// What to do about a call that failed; `redirected`: a manager had said who leads. Pure.
fn next_step(error: &swarm_net::Error, redirected: bool) -> Next {
    match error {
        swarm_net::Error::Refused(refusal) => match refusal.code {
            RefusalCode::NotLeader => frame::decode(&refusal.detail).map_or(Next::Again, Next::Ask),
            // An election is under way, most likely.
            RefusalCode::Unavailable | RefusalCode::Busy => Next::Again,
            _ => Next::GiveUp,
        },
        // The leader that a manager knew of may have died since; others may know the next one.
        swarm_net::Error::Unreachable { .. } if redirected => Next::Again,
        // Perhaps it was carried out: the same request again tells.
        swarm_net::Error::NoAnswer { .. } => Next::Again,
        _ => Next::GiveUp,
    }
}

/// Somebody else's port is better found out before the cluster is asked.
pub(crate) fn check_port(addr: SocketAddr) -> Result<(), SetupError> {
    match UdpSocket::bind(addr) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(SetupError::PortInUse { addr })
        }
        Err(source) => Err(SetupError::Listen { addr, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(last: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, last], 2377))
    }

    fn refused(code: RefusalCode) -> swarm_net::Error {
        swarm_net::Error::Refused(Refusal::new(code, "why"))
    }

    fn sent_to(leader: SocketAddr) -> swarm_net::Error {
        let refusal = Refusal::new(RefusalCode::NotLeader, "why");
        swarm_net::Error::Refused(refusal.with_detail(frame::encode(&leader)))
    }

    /// Gives the answers one after another, then none but "not now"; tells who was asked.
    async fn ask(
        answers: Vec<Result<Bytes, swarm_net::Error>>,
    ) -> (Vec<Vec<SocketAddr>>, Result<Bytes, SetupError>) {
        let (mut asked, mut answers) = (Vec::new(), answers.into_iter());
        let answer = ask_all(&[addr(1), addr(2)], async |managers, _| {
            asked.push(managers);
            answers.next().unwrap_or_else(|| Err(refused(RefusalCode::Unavailable)))
        })
        .await;
        (asked, answer)
    }

    #[tokio::test(start_paused = true)]
    async fn a_redirect_is_followed_and_the_others_are_not_forgotten() {
        let dead = || swarm_net::Error::Unreachable { tried: String::new() };
        let answers = vec![Err(sent_to(addr(9))), Err(dead()), Err(sent_to(addr(2)))];
        let (asked, answer) = ask(answers.into_iter().chain([Ok(Bytes::new())]).collect()).await;
        answer.expect("let in");
        let listed = vec![addr(1), addr(2)];
        let first = vec![addr(9), addr(1), addr(2)];
        assert_eq!(asked, [listed.clone(), first, listed, vec![addr(2), addr(1)]]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_election_is_waited_for_and_not_for_ever() {
        let busy = (0..20).map(|_| Err(refused(RefusalCode::Unavailable)));
        let (asked, answer) = ask(busy.chain([Ok(Bytes::new())]).collect()).await;
        answer.expect("let in");
        assert_eq!(asked.len(), 21);
        let began = Instant::now();
        let (_, answer) = ask(Vec::new()).await;
        answer.expect_err("nobody leads");
        assert!(began.elapsed() <= JOIN_PATIENCE, "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn what_time_does_not_mend_fails_at_once() {
        let (asked, answer) = ask(vec![Err(refused(RefusalCode::Invalid))]).await;
        answer.expect_err("a wrong token");
        assert_eq!(asked.len(), 1);
        let dead = swarm_net::Error::Unreachable { tried: String::new() };
        assert_eq!(ask(vec![Err(dead)]).await.0.len(), 1, "nobody is there");
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_stays_silent_is_named_at_the_end() {
        let dead = || swarm_net::Error::Unreachable { tried: String::new() };
        let answers = (0..60).flat_map(|_| [Err(sent_to(addr(9))), Err(dead())]);
        let error = ask(answers.collect()).await.1.expect_err("nobody leads").to_string();
        assert!(error.contains("leader at 127.0.0.9:2377"), "{error}");
    }
}
