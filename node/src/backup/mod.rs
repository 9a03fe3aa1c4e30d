//! Backups: everything that a cluster can be founded from anew, as one archive of bytes.
//!
//! A manifest with the hash of each part, then the parts: the replicated state and the managers' keys.
//! [`envelope`] is the file around it, encrypted or not. Reading checks everything and touches nothing;
//! what is done with it is in [`crate::restore`]. docs/design/recovery.md has the format.

pub mod envelope;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use swarm_model::id::{ClusterId, NodeId};
use swarm_model::meta::{Revision, Term};
use swarm_model::units::Timestamp;
use swarm_state::machine::Machine;
use swarm_state::store::Position;

use crate::keys::ManagerKeys;

/// The newest format of the manifest.
pub const FORMAT: u32 = 1;
/// More than any manifest has.
const MANIFEST_MAX: usize = 1 << 20;
/// No cluster counts so far: from here on a recovery's leap would not fit.
const HIGHEST: u64 = u64::MAX >> 1;
const STATE: &str = "state";
const KEYS: &str = "keys";

/// What a backup is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Manifest {
    /// Of this manifest and the parts.
    pub format: u32,
    /// The program that made it.
    pub program: String,
    /// The cluster.
    #[serde(rename = "ClusterID")]
    pub cluster_id: ClusterId,
    /// The node that made it.
    #[serde(rename = "NodeID")]
    pub node_id: NodeId,
    /// The epoch of the cluster.
    pub epoch: u64,
    /// Where in the cluster's history.
    pub revision: Revision,
    /// The log index of that, with what the state does not count.
    pub index: u64,
    /// The Raft term of it.
    pub term: Term,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether newer changes may be missing: it was made without a majority.
    pub stale: bool,
    /// Services in it.
    pub services: u64,
    /// Nodes in it.
    pub nodes: u64,
    /// What follows, in this order.
    pub parts: Vec<Part>,
}

/// One part of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its bytes.
    pub length: u64,
    /// SHA-256 of them, in hex.
    pub sha256: String,
}

/// What the maker adds.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// The node that makes it.
    pub node: NodeId,
    /// When.
    pub at: Timestamp,
    /// Whether newer changes may be missing.
    pub stale: bool,
}

/// A backup that was read and checked.
#[derive(Debug)]
pub struct Backup {
    /// What it is of.
    pub manifest: Manifest,
    /// The replicated state.
    pub machine: Machine,
    /// The managers' keys.
    pub keys: ManagerKeys,
}

/// Why bytes are no backup that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// It does not begin like one.
    #[error("this is not a backup of swarm")]
    Foreign,
    /// The end is missing.
    #[error("the backup is cut short: {have} of {expected} bytes are there")]
    Truncated {
        /// Its bytes.
        have: u64,
        /// The bytes that it should have.
        expected: u64,
    },
    /// Bytes changed since it was made.
    #[error("the backup was altered or is damaged: {what} is not what was written")]
    Altered {
        /// What does not fit.
        what: String,
    },
    /// It is encrypted, and no passphrase was given.
    #[error("the backup is encrypted: give its passphrase with --passphrase-file")]
    Locked,
    /// The passphrase is another one.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
    /// A newer program made it.
    #[error(
        "the backup was made by a newer swarm (format {found}, this one reads {known}): upgrade first"
    )]
    Newer {
        /// Its format.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// The state cannot be written.
    #[error("the state cannot be written: {0}")]
    State(String),
    /// Encryption fails.
    #[error("the backup cannot be encrypted: {0}")]
    Crypto(String),
}

fn altered(what: impl Into<String>) -> BackupError {
    BackupError::Altered { what: what.into() }
}

/// SHA-256 in hex.
pub fn sha256(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes an archive of the state that stands at `at`. Not encrypted: see [`envelope::seal`].
///
/// # Errors
/// When the state cannot be written.
pub fn make(
    machine: &Machine,
    at: Position,
    keys: &ManagerKeys,
    facts: &Facts,
) -> Result<Vec<u8>, BackupError> {
    let view = machine.view();
    let cluster = view.cluster.as_ref();
    let cluster =
        cluster.ok_or_else(|| BackupError::State("there is no cluster yet".to_owned()))?;
    let state = machine.snapshot().map_err(|error| BackupError::State(error.to_string()))?;
    let keys = keys.encode();
    let part = |name: &str, bytes: &[u8]| Part {
        name: name.to_owned(),
        length: bytes.len() as u64,
        sha256: sha256(bytes),
    };
    let manifest = Manifest {
        format: FORMAT,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        cluster_id: cluster.id,
        node_id: facts.node,
        epoch: cluster.epoch.number,
        revision: view.revision,
        index: at.index,
        term: Term(at.term),
        created_at: facts.at,
        stale: facts.stale,
        services: view.service_names.len() as u64,
        nodes: view.nodes.len() as u64,
        parts: vec![part(STATE, &state), part(KEYS, &keys)],
    };
    Ok(pack(&manifest, &[&state, &keys]))
}

fn pack(manifest: &Manifest, parts: &[&[u8]]) -> Vec<u8> {
    let text = serde_json::to_vec(manifest).expect("a manifest has a JSON form");
    let length = u32::try_from(text.len()).expect("a manifest is small");
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend_from_slice(&text);
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes
}

/// Reads an archive and checks the hash of each part.
///
/// # Errors
/// See [`BackupError`].
pub fn read(archive: &[u8]) -> Result<Backup, BackupError> {
    let (manifest, mut rest) = read_manifest(archive)?;
    let (mut state, mut keys) = (None, None);
    for part in &manifest.parts {
        let cut =
            usize::try_from(part.length).ok().and_then(|length| rest.split_at_checked(length));
        let (bytes, after) = cut.ok_or_else(|| altered(format!("the length of {}", part.name)))?;
        if sha256(bytes) != part.sha256 {
            return Err(altered(format!("the hash of {}", part.name)));
        }
        match part.name.as_str() {
            STATE => state = Some(bytes),
            KEYS => keys = Some(bytes),
            other => return Err(altered(format!("the list of parts ({other})"))),
        }
        rest = after;
    }
    if !rest.is_empty() {
        return Err(altered("the length"));
    }
    let (Some(state), Some(keys)) = (state, keys) else { return Err(altered("the list of parts")) };
    let machine = Machine::restore(state).map_err(|error| altered(error.to_string()))?;
    let keys = ManagerKeys::decode(keys).map_err(altered)?;
    let cluster = machine.view().cluster.as_ref().map(|cluster| cluster.id);
    if cluster != Some(manifest.cluster_id) || keys.root.cluster_id() != manifest.cluster_id {
        return Err(altered("the cluster of its parts"));
    }
    let counts = [manifest.index, manifest.term.0, machine.view().revision.0];
    if counts.iter().any(|count| *count > HIGHEST) {
        return Err(altered("the numbers of its records"));
    }
    Ok(Backup { manifest, machine, keys })
}

fn read_manifest(archive: &[u8]) -> Result<(Manifest, &[u8]), BackupError> {
    let (length, rest) = archive.split_first_chunk::<4>().ok_or_else(|| altered("the manifest"))?;
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let text = rest.split_at_checked(length).filter(|_| length <= MANIFEST_MAX);
    let (text, parts) = text.ok_or_else(|| altered("the manifest"))?;
    // The format first: a newer manifest may have other fields.
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Format {
        format: u32,
    }
    let Format { format } =
        serde_json::from_slice(text).map_err(|error| altered(format!("the manifest ({error})")))?;
    if format != FORMAT {
        return Err(BackupError::Newer { found: format, known: FORMAT });
    }
    let manifest = serde_json::from_slice(text);
    Ok((manifest.map_err(|error| altered(format!("the manifest ({error})")))?, parts))
}

pub(crate) mod fuzz {
    use swarm_model::command::{Command, Op};
    use swarm_model::fuzz::{Target, sample};
    use swarm_net::frame;
    use swarm_net::fuzz::ROOT_PEM;

    use super::{Facts, Machine, ManagerKeys, NodeId, Position, Revision, Term};
    use super::{make, read, read_manifest};

    /// What is inside the file.
    pub(crate) const ARCHIVE: Target = Target::new(
        "node.backup-archive",
        |bytes| {
            let manifest = read_manifest(bytes).is_ok();
            read(bytes).is_ok() | manifest
        },
        || vec![archive()],
    );

    /// One that is sound.
    pub(crate) fn archive() -> Vec<u8> {
        let keys = frame::encode(&(ROOT_PEM.to_owned(), [7u8; 32]));
        let keys = ManagerKeys::decode(&keys).expect("a CA");
        let mut op = sample::ops().swap_remove(0);
        if let Op::InitCluster { id, .. } = &mut op {
            *id = keys.root.cluster_id();
        }
        let command = Command { request: None, ..sample::command(op) };
        let at = command.at;
        let mut machine = Machine::new();
        machine.apply(Revision(3), Term(1), &command).0.expect("the first command");
        let facts = Facts { node: NodeId::from_raw(1), at, stale: false };
        make(&machine, Position { index: 4, term: 2 }, &keys, &facts).expect("small")
    }
}

#[cfg(test)]
mod tests;
