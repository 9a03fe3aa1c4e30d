//! Quarantine: what a node's data directory says about a replica that must not be trusted, and how
//! the tables are opened under it.
//!
//! A replica (log, vote, marks, snapshots) is lost as one thing. Its loss is noted durably before
//! an empty one takes its place, so that no crash makes the empty one look like a new node's. Coming
//! back is the part of [`crate::readmit`]. docs/design/recovery.md argues why this is safe.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use swarm_raft::Readmission;
use swarm_state::store::{self, Store, Table};

use crate::boot;
use crate::config::{self, ConfigError};
use crate::core::Core;

/// The marker's file.
pub const MARKER_FILE: &str = "quarantine.json";

/// Why a node's replica takes no part in the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Quarantine {
    /// What happened to it, for a person.
    pub reason: String,
    /// How far its replacement by an empty one has come.
    step: Step,
}

/// How far a lost replica was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Step {
    /// It is where it was.
    Found,
    /// An empty one is in its place, waiting to be taken in by the others.
    Emptied,
    /// The others take it in: it is fed, and may vote when it has been fed far enough.
    Granted(Readmission),
    /// Another process runs as this node: only a person can tell which one should.
    Superseded,
}

impl Quarantine {
    /// On what the others take it in again, if they do already.
    pub(crate) fn grounds(&self) -> Option<Readmission> {
        match self.step {
            Step::Granted(grounds) => Some(grounds),
            Step::Found | Step::Emptied | Step::Superseded => None,
        }
    }
}

/// Where a node's tables lie: real files or a simulation's.
pub trait Home {
    /// Opens the tables.
    ///
    /// # Errors
    /// See [`store::Error`].
    fn open(&self) -> Result<Store, store::Error>;

    /// Moves the replica out of the way.
    ///
    /// # Errors
    /// As of [`Store::set_aside`].
    fn set_aside(&self) -> Result<(), store::Error>;
}

/// A data directory of this machine.
#[derive(Debug)]
pub(crate) struct RealHome<'a>(pub(crate) &'a Path);

impl Home for RealHome<'_> {
    /// A damaged table of the agent is replaced by an empty one at once: the leader sends the
    /// assignments again, and what runs is adopted then.
    fn open(&self) -> Result<Store, store::Error> {
        match Store::open(self.0) {
            Err(error) if error.harm() == store::Harm::Agent => {
                tracing::error!(%error, "the agent's table is lost, an empty one takes its place");
                Store::set_aside(self.0, Table::Agent)?;
                Store::open(self.0)
            }
            opened => opened,
        }
    }

    fn set_aside(&self) -> Result<(), store::Error> {
        Store::set_aside(self.0, Table::Votes).map(drop)
    }
}

/// Why the tables are not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// They are of no use, and nobody else has what was in them; or they are in use, or another's.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The marker, or a file beside it, is of no use.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The node ran before and knew no others: what it knew is gone.
    #[error(
        "the tables in {} are gone, though this node ran before, and it knows no other node that \
         has the cluster's state: restore the directory from a backup", dir.display()
    )]
    Gone {
        /// The data directory.
        dir: PathBuf,
    },
    /// Another process took over this node's identity.
    #[error(
        "{reason}. If this directory is the right one, stop the other process and remove {}",
        marker.display()
    )]
    Superseded {
        /// What was seen.
        reason: String,
        /// The marker.
        marker: PathBuf,
    },
}

/// Notes that the replica in `dir` must not be used any more, because of `reason`, durably: from its
/// next life on the node is in quarantine, its replica moved aside, until the others have taken it in
/// anew. Again is fine: the newest reason counts. Blocks on the disk.
///
/// For everyone who finds that out: damage met while opening or running, an old copy, a higher epoch
/// met by a member that was kept. A running node uses [`enter`].
///
/// # Errors
/// See [`ConfigError`]; the node must not go on then.
pub fn impose(dir: &Path, reason: &str) -> Result<(), ConfigError> {
    save(dir, reason, Step::Found)
}

/// As [`impose`], for a running node: its replica takes no part any more at once, and its next life
/// begins by itself. Tasks go on.
pub async fn enter(core: &Core, reason: &str) {
    stop(core, reason, Step::Found).await;
}

/// Ends the part of a node whose identity another process runs under, until a person decides.
pub(crate) async fn supersede(core: &Core, reason: &str) {
    stop(core, reason, Step::Superseded).await;
}

async fn stop(core: &Core, reason: &str, step: Step) {
    core.consensus.gate().shut();
    tracing::error!(reason, "this node's replica takes no part in the cluster any more");
    let (dir, text) = (core.data_dir.clone(), reason.to_owned());
    if let Err(error) = core.work.run(move || save(&dir, &text, step)).await {
        // Behind the shut gate it does no harm; the next start finds the same again.
        tracing::error!(%error, "the quarantine could not be noted");
    }
    core.born_again.cancel();
}

/// The quarantine that `dir` is under, if any. Blocks on the disk.
///
/// # Errors
/// See [`ConfigError`].
pub fn read(dir: &Path) -> Result<Option<Quarantine>, ConfigError> {
    config::load(&dir.join(MARKER_FILE))
}

fn save(dir: &Path, reason: &str, step: Step) -> Result<(), ConfigError> {
    config::save(&dir.join(MARKER_FILE), &Quarantine { reason: reason.to_owned(), step })
}

/// Notes on what the others take this node in again, durably. Blocks on the disk.
///
/// # Errors
/// See [`ConfigError`]; the node takes no part then.
pub(crate) fn grant(dir: &Path, reason: &str, grounds: Readmission) -> Result<(), ConfigError> {
    save(dir, reason, Step::Granted(grounds))
}

/// Ends the quarantine of `dir`, durably. Blocks on the disk.
///
/// # Errors
/// When the marker stays: the quarantine goes on.
pub(crate) fn lift(dir: &Path) -> Result<(), ConfigError> {
    let path = dir.join(MARKER_FILE);
    let removed = fs::remove_file(&path).and_then(|()| fs::File::open(dir)?.sync_all());
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(|source| ConfigError::Io { action: "remove", path, source }),
    }
}

/// Opens the tables of the node in `dir`. A replica that is damaged, rolled back or gone is moved
/// aside and replaced by an empty one under quarantine, if the node knows others (`peers`) that
/// have the state; alone it is refused and nothing changes. Blocks on the disk.
///
/// # Errors
/// See [`OpenError`].
pub fn open(
    dir: &Path,
    peers: bool,
    home: &dyn Home,
) -> Result<(Store, Option<Quarantine>), OpenError> {
    replace(dir, home)?;
    let reason = match home.open() {
        Ok(store) => match emptied(dir, &store)? {
            false => return Ok((store, read(dir)?)),
            true if peers => "its tables are gone, though this node ran before".to_owned(),
            true => return Err(OpenError::Gone { dir: dir.to_owned() }),
        },
        Err(error) if peers && is_lost(&error) => error.to_string(),
        Err(error) => return Err(error.into()),
    };
    tracing::error!(reason, "this node's replica cannot be used: it is replaced by an empty one");
    impose(dir, &reason)?;
    replace(dir, home)?;
    Ok((home.open()?, read(dir)?))
}

/// Whether the replica is lost, and with it as a whole what Raft owns.
pub(crate) fn is_lost(error: &store::Error) -> bool {
    error.harm() == store::Harm::Replica
}

/// What an error of another kind says of a lost replica, if that is what is inside it.
pub(crate) fn loss_in(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    store::Error::find(error).filter(|error| is_lost(error)).map(ToString::to_string)
}

/// Whether the node ran before on tables that are not here any more.
fn emptied(dir: &Path, store: &Store) -> Result<bool, OpenError> {
    // Once the others have taken it in, its vote and records count again.
    let trusted = read(dir)?.is_none_or(|quarantine| quarantine.grounds().is_some());
    Ok(trusted && boot::last(dir)? > 0 && store.meta.identity()?.is_none())
}

/// Moves a replica aside as far as the marker says that this is still to be done.
fn replace(dir: &Path, home: &dyn Home) -> Result<(), OpenError> {
    let Some(Quarantine { reason, step }) = read(dir)? else { return Ok(()) };
    if step == Step::Superseded {
        return Err(OpenError::Superseded { reason, marker: dir.join(MARKER_FILE) });
    }
    if step == Step::Found {
        home.set_aside()?;
        save(dir, &reason, Step::Emptied)?;
    }
    Ok(())
}

pub(crate) mod fuzz {
    use swarm_model::fuzz::Target;
    use swarm_model::meta::{Revision, Term};

    use super::{Quarantine, Readmission, Step};
    use crate::fuzz::{json, text};

    /// The marker on the disk.
    pub(crate) const MARKER: Target =
        Target::new("node.quarantine-file", json::<Quarantine>, || {
            let granted = Readmission { term: Term(3), record: Revision(40) };
            let steps = [Step::Found, Step::Emptied, Step::Granted(granted), Step::Superseded];
            let reason = || "the log is damaged".to_owned();
            steps.map(|step| text(&Quarantine { reason: reason(), step })).to_vec()
        });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use swarm_model::id::{ClusterId, NodeId, TaskId};
    use swarm_model::meta::{Revision, Term};
    use swarm_state::store::disk::{Disk, MemDisk};
    use swarm_state::store::{Identity, LogOptions};

    const DATA: &str = "/data";

    struct Simulated(MemDisk);

    impl Home for Simulated {
        fn open(&self) -> Result<Store, store::Error> {
            let disk = Arc::new(self.0.clone());
            Store::open_on(disk, Path::new(DATA), LogOptions::default())
        }

        fn set_aside(&self) -> Result<(), store::Error> {
            let disk: Arc<dyn Disk> = Arc::new(self.0.clone());
            Store::set_aside_on(&disk, Path::new(DATA), Table::Votes).map(drop)
        }
    }

    fn ran_before(dir: &Path, home: &Simulated) {
        let (store, quarantine) = open(dir, true, home).expect("a new node");
        assert_eq!(quarantine, None);
        claim(&store);
        store.vote.save(b"promise").expect("room");
        boot::draw(dir).expect("written");
    }

    fn claim(store: &Store) {
        let identity = Identity { cluster: ClusterId::from_raw(1), node: NodeId::from_raw(2) };
        store.meta.claim(identity).expect("its own");
    }

    /// Flips a byte of the vote's file.
    fn damage(home: &Simulated) {
        let files = home.0.files();
        let (path, _) =
            files.iter().find(|(path, _)| path.to_string_lossy().contains("kv")).expect("kv");
        assert!(home.0.flip(path, 70, 0xff));
    }

    #[test]
    fn damaged_replica_is_replaced_under_quarantine_until_that_is_lifted() {
        let (dir, home) = (tempfile::tempdir().expect("temp dir"), Simulated(MemDisk::new(1)));
        let dir = dir.path();
        ran_before(dir, &home);
        damage(&home);
        assert!(matches!(open(dir, false, &home), Err(OpenError::Store(_))), "alone: refused");
        assert_eq!(read(dir).expect("readable"), None, "and nothing changed");
        for _ in 0..2 {
            let (store, quarantine) = open(dir, true, &home).expect("an empty replica");
            assert!(quarantine.expect("noted").reason.contains("damaged"));
            assert_eq!(store.vote.read().expect("readable"), None);
            claim(&store);
        }
        let grounds = Readmission { term: Term(3), record: Revision(9) };
        grant(dir, "damaged", grounds).expect("written");
        let (_, quarantine) = open(dir, true, &home).expect("as it is");
        assert_eq!(quarantine.expect("noted").grounds(), Some(grounds));
        lift(dir).expect("removed");
        assert_eq!(open(dir, true, &home).expect("as it is").1, None);
    }

    #[test]
    fn emptied_replica_is_no_new_node() {
        let (dir, home) = (tempfile::tempdir().expect("temp dir"), Simulated(MemDisk::new(2)));
        let dir = dir.path();
        ran_before(dir, &home);
        let empty = Simulated(MemDisk::new(3));
        assert!(matches!(open(dir, false, &empty), Err(OpenError::Gone { .. })));
        let (_, quarantine) = open(dir, true, &empty).expect("an empty replica");
        assert!(quarantine.expect("noted").reason.contains("gone"));
        // Lost once more after the others had taken it in.
        let grounds = Readmission { term: Term(3), record: Revision(9) };
        grant(dir, "gone", grounds).expect("written");
        let (_, quarantine) = open(dir, true, &empty).expect("an empty replica");
        assert_eq!(quarantine.expect("noted").grounds(), None);
    }

    #[test]
    fn superseded_directory_waits_for_a_person() {
        let (dir, home) = (tempfile::tempdir().expect("temp dir"), Simulated(MemDisk::new(4)));
        let dir = dir.path();
        ran_before(dir, &home);
        save(dir, "another process runs as this node", Step::Superseded).expect("written");
        let refused = open(dir, true, &home).expect_err("not to be started").to_string();
        assert!(refused.contains("another process") && refused.contains(MARKER_FILE), "{refused}");
    }

    #[test]
    fn damaged_agents_table_is_replaced_and_a_damaged_replica_is_not() {
        for (folder, opens) in [("agent", true), ("kv", false)] {
            let dir = tempfile::tempdir().expect("a temporary folder");
            let store = RealHome(dir.path()).open().expect("new");
            store.agent_tasks.put(TaskId::from_raw(1), b"record").expect("room");
            store.vote.save(b"vote").expect("room");
            drop(store);
            let file = dir.path().join("store").join(folder).join("0000000000000001.seg");
            let mut bytes = fs::read(&file).expect("a journal");
            bytes[100] ^= 1;
            fs::write(&file, bytes).expect("room");
            match RealHome(dir.path()).open() {
                Ok(store) => {
                    assert!(opens, "{folder}");
                    assert!(store.agent_tasks.scan().expect("readable").is_empty());
                    let vote = store.vote.read().expect("readable");
                    assert_eq!(vote.as_deref(), Some(&b"vote"[..]));
                    assert!(dir.path().join("store/agent.damaged").exists());
                }
                Err(error) => {
                    assert!(!opens, "{error}");
                    assert!(error.to_string().contains("damaged at byte"), "{error}");
                }
            }
        }
    }
}
