//! Prepares a data directory: the first node of a new cluster, or a new node of an existing one.
//!
//! Starts nothing. Either the directory holds a whole node afterwards, or it is as it was.

use std::fs;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use swarm_model::clock::Clock;
use swarm_model::cluster::ClusterSpec;
use swarm_model::id::{ClusterId, NodeId};
use swarm_model::node::{Availability, Role};
use swarm_model::service::SpecError;
use swarm_net::ca::{ClusterSecret, Identity, JoinToken, NodeKey, Root};
use swarm_net::frame;
use swarm_net::quic::join_call;
use swarm_net::rpc::RefusalCode;

use crate::agent::resources;
use crate::config::{self, Bootstrap, CONFIG_FILE, ConfigError, NodeConfig};
use crate::join::{JoinGrant, JoinRequest};
use crate::keys::{self, KeyError, ManagerKeys};

/// How long the cluster may take to let a node in.
const JOIN_DEADLINE: Duration = Duration::from_secs(10);
/// How often a node that asks the wrong manager is sent on.
const REDIRECTS: usize = 4;

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
    /// Something else lives there.
    #[error("{} is not empty and holds no node: choose another --data-dir", dir.display())]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory cannot be used.
    #[error("cannot use {}", dir.display())]
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
    let dir = Claim::take(&options.data_dir)?;
    check_port(options.listen)?;
    let key = NodeKey::generate()?;
    let request = JoinRequest {
        secret: options.token.secret(),
        certificate_request: key.request()?,
        description: resources::describe(std::collections::BTreeMap::new()),
        availability: options.availability,
        advertise: options.advertise.unwrap_or(options.listen),
        now: clock.now(),
    };
    let grant = ask(options, &request, clock).await?;
    let prepared = furnish(dir.path(), key, grant, options.listen)?;
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
    let mut managers = options.managers.clone();
    for _ in 0..REDIRECTS {
        let digest = options.token.ca_digest;
        let call = join_call(&managers, digest, body.clone(), JOIN_DEADLINE, clock.clone());
        match call.await {
            Ok(bytes) => {
                return frame::decode(&bytes).map_err(|e| SetupError::Answer(e.to_string()));
            }
            Err(swarm_net::Error::Refused(refusal)) if refusal.code == RefusalCode::NotLeader => {
                match frame::decode::<SocketAddr>(&refusal.detail) {
                    Ok(leader) => managers = vec![leader],
                    Err(_) => return Err(swarm_net::Error::Refused(refusal).into()),
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(SetupError::Answer("the managers do not agree on who leads: try again".to_owned()))
}

/// Somebody else's port is better found out before the cluster is asked.
fn check_port(addr: SocketAddr) -> Result<(), SetupError> {
    match UdpSocket::bind(addr) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(SetupError::PortInUse { addr })
        }
        Err(source) => Err(SetupError::Listen { addr, source }),
    }
}

/// A directory that is emptied again unless it is kept.
struct Claim {
    dir: PathBuf,
    made: bool,
    kept: bool,
}

impl Claim {
    fn take(dir: &Path) -> Result<Self, SetupError> {
        let failed = |source| SetupError::Dir { dir: dir.to_owned(), source };
        if dir.join(CONFIG_FILE).exists() {
            return Err(SetupError::Occupied { dir: dir.to_owned() });
        }
        let made = !dir.exists();
        fs::create_dir_all(dir).map_err(failed)?;
        let strange = fs::read_dir(dir)
            .map_err(failed)?
            .filter_map(Result::ok)
            .any(|entry| entry.file_name() != "daemon.log");
        if strange {
            return Err(SetupError::NotEmpty { dir: dir.to_owned() });
        }
        Ok(Self { dir: dir.to_owned(), made, kept: false })
    }

    fn path(&self) -> &Path {
        &self.dir
    }

    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // Only what was written here: the directory was empty before.
        let removed = if self.made { fs::remove_dir_all(&self.dir) } else { clear(&self.dir) };
        if let Err(error) = removed {
            tracing::warn!(dir = %self.dir.display(), %error, "cannot clean up");
        }
    }
}

/// Removes everything in `dir`, but not `dir` itself.
///
/// # Errors
/// What could not be removed.
pub fn clear(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
