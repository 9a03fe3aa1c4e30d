//! Founds a cluster's next epoch from a backup, in an empty data directory.
//!
//! The node is a new one: the backup holds no node's key, so the one that made it cannot run twice.
//! Either the directory holds a whole node afterwards, or it is as it was. Starts nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use swarm_model::clock::Clock;
use swarm_model::command::NewNode;
use swarm_model::epoch::{Epoch, Recovery};
use swarm_model::id::NodeId;
use swarm_model::meta::Revision;
use swarm_model::node::{Availability, NodeSpec, Role};
use swarm_model::outcome::Rejection;
use swarm_net::ca::{Identity, NodeKey};
use swarm_raft::{Replica, beyond, found};
use swarm_state::machine::Machine;
use swarm_state::store::{self, Position, Store};

use crate::agent::resources;
use crate::backup::{Backup, sha256};
use crate::claim::Claim;
use crate::config::{self, NodeConfig, Peers};
use crate::epoch;
use crate::keys;
use crate::offers::Offers;
use crate::recover::tables;
use crate::setup::{Prepared, SetupError, check_port};

/// Where the restored cluster begins.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// Where its first node lives.
    pub data_dir: PathBuf,
    /// The UDP address it listens on.
    pub listen: SocketAddr,
    /// Where peers reach it.
    pub advertise: SocketAddr,
    /// Whether it takes tasks.
    pub availability: Availability,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The new node.
    pub prepared: Prepared,
    /// The epoch that it begins.
    pub epoch: Epoch,
    /// Where the cluster's history goes on.
    pub revision: Revision,
    /// Members that are left out.
    pub lost: BTreeSet<NodeId>,
    /// SHA-256 of the state that was verified on the disk.
    pub state_sha256: String,
}

/// Why nothing was restored. The directory is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The directory or the address cannot be used.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The tables cannot be written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The state cannot be written, or does not read back.
    #[error("the state cannot be written to {}", dir.display())]
    State {
        /// The directory.
        dir: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The state in the backup does not allow it.
    #[error("the backup cannot be gone on from")]
    Rejected(#[from] Rejection),
    /// What was written is not what reads back.
    #[error("what was written to {} does not read back as the backup's state", dir.display())]
    Unverified {
        /// The directory.
        dir: PathBuf,
    },
}

/// Restores `backup`, which was read whole and checked before. Blocks on the disk.
///
/// # Errors
/// See [`RestoreError`].
pub fn restore(
    options: &RestoreOptions,
    backup: &Backup,
    clock: &dyn Clock,
    draw: &mut dyn FnMut() -> u128,
) -> Result<Restored, RestoreError> {
    let claim = Claim::take(&options.data_dir)?;
    check_port(options.listen)?;
    let node_id = NodeId::from_raw(draw());
    let begun = begin(options, backup, node_id, clock, draw())?;
    let (config, state_sha256) = furnish(claim.path(), options, backup, &begun, clock)?;
    // Last: until then no node lives here. One without the state would call the workers over to nothing.
    config.save(claim.path()).map_err(SetupError::from)?;
    claim.keep();
    let (_, at, recovery) = begun;
    let cluster_id = backup.manifest.cluster_id;
    let advertise = options.advertise;
    Ok(Restored {
        prepared: Prepared { node_id, cluster_id, role: Role::Manager, advertise },
        epoch: recovery.epoch,
        revision: Revision(at.index),
        lost: recovery.lost,
        state_sha256,
    })
}

/// The state that the next epoch begins with: the backup's, with the new node instead of all managers.
fn begin(
    options: &RestoreOptions,
    backup: &Backup,
    node_id: NodeId,
    clock: &dyn Clock,
    draw: u128,
) -> Result<(Machine, Position, Recovery), RestoreError> {
    let view = backup.machine.view();
    let before = view.cluster.as_ref().map_or(Epoch::FIRST, |cluster| cluster.epoch);
    let managers = view.nodes.values().filter(|node| node.spec.role == Role::Manager);
    let spec = NodeSpec {
        role: Role::Manager,
        availability: options.availability,
        labels: BTreeMap::new(),
    };
    let recovery = Recovery {
        epoch: before.next(u64::try_from(draw >> 64).unwrap_or_default()),
        founder: node_id,
        joins: Some(NewNode {
            id: node_id,
            spec,
            description: resources::describe(BTreeMap::new(), BTreeMap::new()),
            addr: options.advertise.to_string(),
            token: None,
        }),
        lost: managers.map(|node| node.id).collect(),
    };
    let last = Position { index: backup.manifest.index, term: backup.manifest.term.0 };
    let at = beyond(Position { index: last.index.max(view.revision.0), ..last });
    let mut machine = backup.machine.clone();
    machine.recover(Revision(at.index), clock.now(), &recovery)?;
    Ok((machine, at, recovery))
}

/// Everything of the node but its settings, which it gives, with the hash of the state.
fn furnish(
    dir: &Path,
    options: &RestoreOptions,
    backup: &Backup,
    (machine, at, recovery): &(Machine, Position, Recovery),
    clock: &dyn Clock,
) -> Result<(NodeConfig, String), RestoreError> {
    let config = settle(dir, options, backup, recovery.founder, clock)?;
    config::save_peers(dir, &peers(machine, recovery.founder)).map_err(SetupError::from)?;
    epoch::save(dir, recovery.epoch).map_err(SetupError::from)?;
    Ok((config, write(dir, backup, machine, *at, recovery.founder)?))
}

/// Its identity and keys; gives its settings.
fn settle(
    dir: &Path,
    options: &RestoreOptions,
    backup: &Backup,
    node_id: NodeId,
    clock: &dyn Clock,
) -> Result<NodeConfig, SetupError> {
    let cluster = backup.machine.view().cluster.clone();
    let spec = cluster.map_or_else(Default::default, |cluster| cluster.spec.clone());
    let validity = Duration::from_millis(spec.cert_expiry_ms);
    let (root, key) = (&backup.keys.root, NodeKey::generate()?);
    let request = key.request()?;
    let certificate = root.issue(&request, node_id, Role::Manager, clock.now(), validity)?;
    Identity::new(key, certificate, root.cert_der().to_vec())?.save(dir)?;
    keys::save(dir, &backup.keys)?;
    Ok(NodeConfig {
        cluster_id: backup.manifest.cluster_id,
        node_id,
        listen: options.listen,
        advertise: options.advertise,
        labels: BTreeMap::new(),
        snapshot_interval: spec.snapshot_interval,
        bootstrap: None,
        offers: Offers::default(),
    })
}

fn peers(machine: &Machine, me: NodeId) -> Peers {
    let nodes = machine.view().nodes.values().filter(|node| node.id != me);
    nodes.filter_map(|node| Some((node.id, node.status.addr.parse().ok()?))).collect()
}

/// Writes the state, and reads it back: gives its hash.
fn write(
    dir: &Path,
    backup: &Backup,
    machine: &Machine,
    at: Position,
    node: NodeId,
) -> Result<String, RestoreError> {
    let failed = |source| RestoreError::State { dir: dir.to_owned(), source };
    let hash = |machine: &Machine| {
        let bytes = machine.snapshot().map_err(io::Error::other).map_err(failed)?;
        Ok::<_, RestoreError>(sha256(&bytes))
    };
    {
        let store = Store::open(dir)?;
        store.meta.claim(store::Identity { cluster: backup.manifest.cluster_id, node })?;
        found(&mut tables(store), machine, at, node).map_err(failed)?;
    }
    let replica = Replica::read(&tables(Store::open(dir)?)).map_err(failed)?;
    let (wanted, found) = (hash(machine)?, hash(replica.machine())?);
    if wanted != found || *replica.voters() != BTreeSet::from([node]) {
        return Err(RestoreError::Unverified { dir: dir.to_owned() });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup;
    use crate::clock::SystemClock;
    use crate::config::ConfigError;
    use crate::recover::{RecoverError, examine};

    fn options(data_dir: &Path) -> RestoreOptions {
        let addr = "127.0.0.1:0".parse().expect("valid");
        let availability = Availability::Active;
        RestoreOptions {
            data_dir: data_dir.to_owned(),
            listen: addr,
            advertise: addr,
            availability,
        }
    }

    #[test]
    fn no_node_lives_in_the_directory_before_its_state_is_verified() {
        let home = tempfile::tempdir().expect("temp dir");
        let backup = backup::read(&backup::fuzz::archive()).expect("whole");
        let (dir, founder) = (home.path().join("d"), NodeId::from_raw(9));
        std::fs::create_dir(&dir).expect("made");
        let options = options(&dir);
        let begun = begin(&options, &backup, founder, &SystemClock, 7 << 64).expect("a state");
        let (_, sha256) = furnish(&dir, &options, &backup, &begun, &SystemClock).expect("room");
        // What a crash leaves here starts no daemon, and without a mark nobody takes it for his.
        let none = |result| matches!(result, Err(ConfigError::NoNode { .. }));
        assert!(none(NodeConfig::load(&dir).map(drop)));
        let again = restore(&options, &backup, &SystemClock, &mut || 8).expect_err("not empty");
        assert!(matches!(again, RestoreError::Setup(SetupError::NotEmpty { .. })), "{again}");
        assert!(dir.join("epoch.json").exists(), "who was refused must not clean up");

        std::fs::remove_dir_all(&dir).expect("removed");
        let restored = restore(&options, &backup, &SystemClock, &mut || 7 << 64).expect("empty");
        assert_eq!((restored.state_sha256.len(), sha256.len()), (64, 64));
        assert_eq!(examine(&dir).expect("a survivor").epoch, restored.epoch.number);
        let occupied = restore(&options, &backup, &SystemClock, &mut || 8).expect_err("a node");
        assert!(matches!(occupied, RestoreError::Setup(SetupError::Occupied { .. })), "{occupied}");
        assert!(!matches!(examine(&dir), Err(RecoverError::Config(_))));
    }
}
