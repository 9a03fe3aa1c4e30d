//! A node's own settings, as `init` and `join` wrote them into its data directory.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use swarm_model::cluster::ClusterSpec;
use swarm_model::id::{ClusterId, NodeId};
use swarm_model::node::Availability;
use swarm_model::service::{SpecError, validate_labels};

use crate::offers::Offers;

/// The settings' file name.
pub const CONFIG_FILE: &str = "node.json";
/// Where the other nodes were last, for a start without anybody to ask.
const PEERS_FILE: &str = "peers.json";

/// A node's own settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NodeConfig {
    /// Its cluster.
    #[serde(rename = "ClusterID")]
    pub cluster_id: ClusterId,
    /// The node.
    #[serde(rename = "NodeID")]
    pub node_id: NodeId,
    /// The UDP address it listens on.
    pub listen: SocketAddr,
    /// Where peers reach it.
    pub advertise: SocketAddr,
    /// Labels of the machine (`engine.labels.…`).
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Log entries between snapshots; follows the cluster's setting at each start.
    pub snapshot_interval: u64,
    /// On the node of `swarm init`, until the cluster stands: what it is to be made of.
    #[serde(default)]
    pub bootstrap: Option<Bootstrap>,
    /// What it offers beside CPU and memory.
    #[serde(flatten)]
    pub offers: Offers,
}

/// What a new cluster is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Bootstrap {
    /// Its settings.
    pub spec: ClusterSpec,
    /// Whether the first node takes tasks.
    pub availability: Availability,
}

/// Why a file of the data directory is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is none: no node lives here.
    #[error(
        "there is no node in {}: make one with `swarm init` or `swarm join`, or name its directory \
         with --data-dir", dir.display()
    )]
    NoNode {
        /// The directory.
        dir: PathBuf,
    },
    /// It cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It does not read as settings.
    #[error("{} is damaged: restore it, or join the cluster as a new node", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The cluster would not take the labels in it.
    #[error("{}: the node's labels must be changed", path.display())]
    Labels {
        /// The file.
        path: PathBuf,
        /// What is wrong with them.
        #[source]
        source: SpecError,
    },
    /// The cluster would not take what it offers.
    #[error("{}: what the node offers must be changed", path.display())]
    Offer {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: SpecError,
    },
}

impl NodeConfig {
    /// Reads the settings of the node in `dir`. Blocks on the disk.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(dir: &Path) -> Result<Self, ConfigError> {
        let path = dir.join(CONFIG_FILE);
        let config: Self =
            load(&path)?.ok_or_else(|| ConfigError::NoNode { dir: dir.to_owned() })?;
        if let Err(source) = validate_labels("Labels", &config.labels) {
            return Err(ConfigError::Labels { path, source });
        }
        match config.offers.validate() {
            Ok(()) => Ok(config),
            Err(source) => Err(ConfigError::Offer { path, source }),
        }
    }

    /// The settings with `changes` put in, kept in `dir` when that changes them. Blocks on the disk.
    ///
    /// # Errors
    /// See [`ConfigError`]; nothing was changed.
    pub fn offering(self, dir: &Path, changes: &Offers) -> Result<Self, ConfigError> {
        let offers = self.offers.changed(changes);
        if offers == self.offers {
            return Ok(self);
        }
        offers
            .validate()
            .map_err(|source| ConfigError::Offer { path: dir.join(CONFIG_FILE), source })?;
        let changed = Self { offers, ..self };
        changed.save(dir)?;
        Ok(changed)
    }

    /// Writes the settings into `dir`, whole or not at all. Blocks on the disk.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn save(&self, dir: &Path) -> Result<(), ConfigError> {
        save(&dir.join(CONFIG_FILE), self)
    }
}

/// Where the other nodes were last seen.
pub type Peers = BTreeMap<NodeId, SocketAddr>;

/// Reads the addresses kept by [`save_peers`]; none is fine. Blocks on the disk.
///
/// # Errors
/// See [`ConfigError`].
pub fn load_peers(dir: &Path) -> Result<Peers, ConfigError> {
    Ok(load(&dir.join(PEERS_FILE))?.unwrap_or_default())
}

/// Keeps where the other nodes are. Blocks on the disk.
///
/// # Errors
/// See [`ConfigError`].
pub fn save_peers(dir: &Path, peers: &Peers) -> Result<(), ConfigError> {
    save(&dir.join(PEERS_FILE), peers)
}

pub(crate) fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ConfigError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(None);
        }
        Err(source) => {
            return Err(ConfigError::Io { action: "read", path: path.to_owned(), source });
        }
    };
    let malformed = |source| ConfigError::Malformed { path: path.to_owned(), source };
    serde_json::from_slice(&bytes).map(Some).map_err(malformed)
}

pub(crate) fn save<T: Serialize>(path: &Path, value: &T) -> Result<(), ConfigError> {
    let failed = |source| ConfigError::Io { action: "write", path: path.to_owned(), source };
    let malformed = |source| ConfigError::Malformed { path: path.to_owned(), source };
    let bytes = serde_json::to_vec_pretty(value).map_err(malformed)?;
    replace(path, &bytes).map_err(failed)
}

/// Writes beside the file, syncs, and moves it into place: there is always one whole version.
/// Only the owner may read it.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let dir = path.parent().unwrap_or_else(|| Path::new("."));
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_back_and_absence_is_explained() {
        let dir = tempfile::tempdir().expect("temp dir");
        let file = dir.path().join("file");
        fs::write(&file, "").expect("written");
        for path in [dir.path(), &dir.path().join("none"), &file] {
            assert!(matches!(NodeConfig::load(path), Err(ConfigError::NoNode { .. })), "{path:?}");
        }
        let config = NodeConfig {
            cluster_id: ClusterId::from_raw(1),
            node_id: NodeId::from_raw(2),
            listen: "0.0.0.0:2377".parse().expect("valid"),
            advertise: "127.0.0.1:2377".parse().expect("valid"),
            labels: BTreeMap::new(),
            snapshot_interval: 1000,
            bootstrap: None,
            offers: Offers::default(),
        };
        config.save(dir.path()).expect("written");
        assert_eq!(NodeConfig::load(dir.path()).expect("just written"), config);
        fs::write(dir.path().join(CONFIG_FILE), "{").expect("written");
        assert!(matches!(NodeConfig::load(dir.path()), Err(ConfigError::Malformed { .. })));
        let labels = BTreeMap::from([(String::new(), "no key".to_owned())]);
        NodeConfig { labels, ..config.clone() }.save(dir.path()).expect("writable");
        assert!(matches!(NodeConfig::load(dir.path()), Err(ConfigError::Labels { .. })));
        let generic = BTreeMap::from([("a b".to_owned(), 1)]);
        let offers = Offers { generic, ..Offers::default() };
        NodeConfig { offers, ..config }.save(dir.path()).expect("writable");
        assert!(matches!(NodeConfig::load(dir.path()), Err(ConfigError::Offer { .. })));
    }

    #[test]
    fn what_is_offered_is_kept_until_it_is_taken_away() {
        let dir = tempfile::tempdir().expect("temp dir");
        // As a daemon wrote it that knew of no generic resources.
        let old = r#"{"ClusterID": "0000000000000000000000001", "NodeID": "0000000000000000000000002",
            "Listen": "0.0.0.0:2377", "Advertise": "127.0.0.1:2377", "SnapshotInterval": 1000}"#;
        fs::write(dir.path().join(CONFIG_FILE), old).expect("written");
        let offer = |pairs: &[(&str, u64)]| -> Result<Vec<(String, u64)>, ConfigError> {
            let generic = pairs.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect();
            let changes = Offers { generic, ..Offers::default() };
            NodeConfig::load(dir.path())?.offering(dir.path(), &changes)?;
            Ok(NodeConfig::load(dir.path())?.offers.generic.into_iter().collect())
        };
        let of = |kind: &str, count| (kind.to_owned(), count);
        assert_eq!(offer(&[]).expect("readable"), []);
        assert_eq!(offer(&[("licence", 2)]).expect("valid"), [of("licence", 2)]);
        let both = [of("licence", 3), of("port", 8)];
        assert_eq!(offer(&[("port", 8), ("licence", 3)]).expect("valid"), both);
        assert!(matches!(offer(&[("a b", 1), ("port", 0)]), Err(ConfigError::Offer { .. })));
        assert_eq!(offer(&[]).expect("readable"), both);
        assert_eq!(offer(&[("port", 0)]).expect("valid"), [of("licence", 3)]);
    }
}
