//! The keys that managers share: the CA and the cluster secret. On managers' disks and in their
//! memory, never in the replicated state.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use swarm_net::ca::{ClusterSecret, Root};
use swarm_net::frame;

use crate::config;

const CA_FILE: &str = "ca.pem";
const SECRET_FILE: &str = "cluster-secret";

/// The keys of a cluster's managers. The debug form shows none.
#[derive(Debug)]
pub struct ManagerKeys {
    /// Signs node certificates.
    pub root: Root,
    /// Makes join tokens.
    pub secret: ClusterSecret,
}

/// The form in which one manager gives them to another, over the mesh only.
#[derive(Serialize, Deserialize)]
struct Wire {
    root_pem: String,
    secret: [u8; 32],
}

impl ManagerKeys {
    /// For another manager.
    pub fn encode(&self) -> Bytes {
        let root_pem = self.root.to_pem().to_string();
        frame::encode(&Wire { root_pem, secret: *self.secret.expose() })
    }

    /// From another manager.
    ///
    /// # Errors
    /// When the bytes are not a manager's keys.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let wire: Wire = frame::decode(bytes).map_err(|error| error.to_string())?;
        let root = Root::from_pem(&wire.root_pem).map_err(|error| error.to_string())?;
        Ok(Self { root, secret: ClusterSecret::from_bytes(wire.secret) })
    }
}

/// Where a node keeps the keys while it is a manager. Clones are handles to the same place.
#[derive(Debug, Clone)]
pub struct KeyRing {
    dir: PathBuf,
    held: Arc<RwLock<Option<Arc<ManagerKeys>>>>,
}

impl KeyRing {
    /// The keys in `dir`, if there are any. Blocks on the disk.
    ///
    /// # Errors
    /// When there are some and they do not read back.
    pub fn open(dir: &Path) -> Result<Self, KeyError> {
        let dir = dir.to_owned();
        let held = match dir.join(CA_FILE).exists() {
            true => {
                let root = Root::load(&dir.join(CA_FILE))?;
                let secret = load_secret(&dir.join(SECRET_FILE))?;
                Some(Arc::new(ManagerKeys { root, secret }))
            }
            false => None,
        };
        Ok(Self { dir, held: Arc::new(RwLock::new(held)) })
    }

    /// The keys, on a manager.
    pub fn keys(&self) -> Option<Arc<ManagerKeys>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps keys. Blocks on the disk.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn store(&self, keys: ManagerKeys) -> Result<(), KeyError> {
        save(&self.dir, &keys)?;
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(keys));
        Ok(())
    }

    /// Drops the keys: this node is no manager any more. Blocks on the disk.
    pub fn discard(&self) {
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = None;
        for file in [CA_FILE, SECRET_FILE] {
            if let Err(error) = std::fs::remove_file(self.dir.join(file))
                && error.kind() != ErrorKind::NotFound
            {
                tracing::warn!(file, %error, "cannot remove a manager's key");
            }
        }
    }
}

/// Writes `keys` into `dir`. Blocks on the disk.
///
/// # Errors
/// When they cannot be written.
pub fn save(dir: &Path, keys: &ManagerKeys) -> Result<(), KeyError> {
    let path = dir.join(SECRET_FILE);
    config::replace(&path, keys.secret.expose())
        .map_err(|source| KeyError::Secret { path, source })?;
    Ok(keys.root.save(&dir.join(CA_FILE))?)
}

fn load_secret(path: &Path) -> Result<ClusterSecret, KeyError> {
    let bytes = std::fs::read(path)
        .and_then(|bytes| {
            <[u8; 32]>::try_from(bytes).map_err(|_length| ErrorKind::InvalidData.into())
        })
        .map_err(|source| KeyError::Secret { path: path.to_owned(), source })?;
    Ok(ClusterSecret::from_bytes(bytes))
}

/// How keys fail to be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The CA's part.
    #[error("the cluster CA on this node is of no use")]
    Root(#[from] swarm_net::Error),
    /// The secret's part.
    #[error("cannot use the cluster secret {}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}
