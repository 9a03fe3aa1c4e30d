//! A survivor goes on without its majority: what it holds, what that loses, and the step itself.
//!
//! The step is made on tables at rest, between two lives of the daemon or without one. Either it
//! happened, whole, or nothing did, and it may be repeated. docs/design/recovery.md.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use swarm_model::epoch::{Epoch, Recovery};
use swarm_model::id::NodeId;
use swarm_model::meta::{Revision, Term};
use swarm_model::node::{Node, Role};
use swarm_model::outcome::Rejection;
use swarm_model::task_state::{DesiredState, ObservedState};
use swarm_model::units::Timestamp;
use swarm_model::view::View;
use swarm_raft::{Replica, Tables, found};
use swarm_state::store::{self, Store};

use crate::api::types::{RecoveryMember, RecoveryReport};
use crate::config::{ConfigError, NodeConfig};
use crate::keys::{KeyError, KeyRing};
use crate::{epoch, quarantine};

/// What was decided by a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Members that are left out for ever.
    pub lost: BTreeSet<NodeId>,
    /// When it was decided.
    pub at: Timestamp,
    /// Random bits.
    pub draw: u64,
}

/// Why a node cannot go on alone. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// There is no node, or its files are of no use.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its keys are of no use.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// A daemon runs on it.
    #[error(
        "a daemon runs on {0}: use `swarm recover` while it answers; if it does not, see {0}/daemon.log \
         or stop it", dir.display()
    )]
    Running {
        /// The data directory.
        dir: PathBuf,
    },
    /// Its tables are of no use.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The replica does not read back, or cannot be written.
    #[error("the replica in {} cannot be used", dir.display())]
    Replica {
        /// The data directory.
        dir: PathBuf,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// This node is not one that can.
    #[error("{reason}")]
    Unfit {
        /// Why, and what to do.
        reason: String,
    },
    /// The state does not allow it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

impl RecoverError {
    fn unfit(reason: impl Into<String>) -> Self {
        Self::Unfit { reason: reason.into() }
    }
}

/// What is known about a survivor.
#[derive(Debug)]
pub struct Survivor<'a> {
    /// Its replica.
    pub view: &'a View,
    /// The node.
    pub me: NodeId,
    /// The Raft term.
    pub term: Term,
    /// The newest log record, committed or not.
    pub last: Revision,
    /// The newest that is known to be committed.
    pub committed: Revision,
    /// Who votes.
    pub voters: &'a BTreeSet<NodeId>,
    /// The managers that stay members; the others are lost.
    pub heard: &'a BTreeSet<NodeId>,
    /// For how long nothing was heard from a leader.
    pub silent_ms: Option<u64>,
    /// When the newest command that it holds was made.
    pub newest: Option<Timestamp>,
}

impl Survivor<'_> {
    /// For a person to decide on.
    pub fn report(&self) -> RecoveryReport {
        let stays = |node: &Node| {
            node.spec.role == Role::Worker || node.id == self.me || self.heard.contains(&node.id)
        };
        let members = |kept: bool| {
            let nodes = self.view.nodes.values().filter(move |node| stays(node) == kept);
            nodes.map(|node| self.member(node)).collect::<Vec<_>>()
        };
        let (kept, lost) = (members(true), members(false));
        let runs = |wanted: Option<bool>| {
            let tasks = self.view.tasks.values().filter(|task| {
                task.desired == DesiredState::Running && task.status.state == ObservedState::Running
            });
            let on = |node: Option<NodeId>| match wanted {
                Some(true) => node == Some(self.me),
                Some(false) => lost.iter().any(|member| Some(member.node_id) == node),
                None => true,
            };
            u32::try_from(tasks.filter(|task| on(task.node)).count()).unwrap_or(u32::MAX)
        };
        RecoveryReport {
            node_id: self.me,
            epoch: self.view.cluster.as_ref().map_or(0, |cluster| cluster.epoch.number),
            revision: self.committed,
            uncommitted: self.last.0.saturating_sub(self.committed.0),
            term: self.term,
            newest_change: self.newest,
            leader_silent_ms: self.silent_ms,
            voters: u32::try_from(self.voters.len()).unwrap_or(u32::MAX),
            services: u32::try_from(self.view.service_names.len()).unwrap_or(u32::MAX),
            tasks: runs(None),
            tasks_here: runs(Some(true)),
            tasks_lost: runs(Some(false)),
            kept,
            lost,
        }
    }

    fn member(&self, node: &Node) -> RecoveryMember {
        RecoveryMember {
            node_id: node.id,
            hostname: node.description.hostname.clone(),
            role: node.spec.role,
            addr: node.status.addr.clone(),
            voter: self.voters.contains(&node.id),
        }
    }
}

/// What the stopped node in `dir` holds, and what it would leave out: all other managers. Blocks on the
/// disk.
///
/// # Errors
/// See [`RecoverError`].
pub fn examine(dir: &Path) -> Result<RecoveryReport, RecoverError> {
    let (config, _tables, replica) = open(dir)?;
    Ok(report(&config, &replica))
}

fn report(config: &NodeConfig, replica: &Replica) -> RecoveryReport {
    let survivor = Survivor {
        view: replica.view(),
        me: config.node_id,
        term: Term(replica.last().term),
        last: Revision(replica.last().index),
        committed: replica.committed(),
        voters: replica.voters(),
        heard: &BTreeSet::new(),
        silent_ms: None,
        newest: replica.newest(),
    };
    survivor.report()
}

fn open(dir: &Path) -> Result<(NodeConfig, Tables, Replica), RecoverError> {
    let config = NodeConfig::load(dir)?;
    if let Some(fence) = epoch::fence(dir)? {
        return Err(RecoverError::unfit(fence.reason()));
    }
    if let Some(quarantine) = quarantine::read(dir)? {
        return Err(RecoverError::unfit(format!(
            "this node's replica was lost ({}): recover on another manager, or restore a backup",
            quarantine.reason
        )));
    }
    if KeyRing::open(dir)?.keys().is_none() {
        let reason = "this node holds no CA key: recover on a manager, or restore a backup";
        return Err(RecoverError::unfit(reason));
    }
    let store = match Store::open(dir) {
        Err(store::Error::InUse { .. }) => {
            return Err(RecoverError::Running { dir: dir.to_owned() });
        }
        store => store?,
    };
    let tables = tables(store);
    let failed = |source| RecoverError::Replica { dir: dir.to_owned(), source };
    let replica = Replica::read(&tables).map_err(failed)?;
    Ok((config, tables, replica))
}

/// The part of a store that consensus uses.
pub(crate) fn tables(store: Store) -> Tables {
    let Store { log, vote, meta, snapshots, .. } = store;
    Tables { log, vote, meta, snapshots }
}

/// Makes the stopped node in `dir` the only voter of the cluster's next epoch. Blocks on the disk.
///
/// # Errors
/// See [`RecoverError`]. After one of the disk it may be repeated.
pub fn perform(dir: &Path, order: &Order) -> Result<Epoch, RecoverError> {
    let (config, tables, replica) = open(dir)?;
    let failed = |source| RecoverError::Replica { dir: dir.to_owned(), source };
    recover(tables, &replica, config.node_id, order, &failed)
}

/// The same on open tables, for simulations, too.
///
/// # Errors
/// As of [`perform`].
pub fn perform_on(tables: Tables, me: NodeId, order: &Order) -> Result<Epoch, RecoverError> {
    let failed = |source| RecoverError::Replica { dir: PathBuf::from("the simulation"), source };
    let replica = Replica::read(&tables).map_err(failed)?;
    recover(tables, &replica, me, order, &failed)
}

fn recover(
    mut tables: Tables,
    replica: &Replica,
    me: NodeId,
    order: &Order,
    failed: &dyn Fn(io::Error) -> RecoverError,
) -> Result<Epoch, RecoverError> {
    let before = replica.view().cluster.as_ref().map(|cluster| cluster.epoch);
    let before =
        before.ok_or_else(|| RecoverError::unfit("this node does not know its cluster yet"))?;
    let (at, epoch) = (replica.beyond(), before.next(order.draw));
    let recovery = Recovery { epoch, founder: me, joins: None, lost: order.lost.clone() };
    let mut machine = replica.machine().clone();
    machine.recover(Revision(at.index), order.at, &recovery)?;
    found(&mut tables, &machine, at, me).map_err(failed)?;
    tracing::warn!(%epoch, revision = at.index, "this node goes on as the cluster's only voter");
    Ok(epoch)
}

/// Makes the stopped node in `dir` go on without any other manager: `init --force-new-cluster`. Blocks on
/// the disk.
///
/// # Errors
/// See [`RecoverError`].
pub fn force(
    dir: &Path,
    at: Timestamp,
    draw: u64,
) -> Result<(RecoveryReport, Epoch), RecoverError> {
    let (config, tables, replica) = open(dir)?;
    let report = report(&config, &replica);
    let lost = report.lost.iter().map(|member| member.node_id).collect();
    let failed = |source| RecoverError::Replica { dir: dir.to_owned(), source };
    let epoch = recover(tables, &replica, config.node_id, &Order { lost, at, draw }, &failed)?;
    Ok((report, epoch))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use swarm_model::meta::Meta;
    use swarm_model::node::{Availability, NodeSpec, NodeStatus};

    use super::*;

    fn view() -> View {
        let mut view = View::default();
        for (id, role) in
            [(1, Role::Manager), (2, Role::Manager), (3, Role::Manager), (4, Role::Worker)]
        {
            let id = NodeId::from_raw(id);
            let node = Node {
                id,
                meta: Meta::new(Revision(1), Timestamp::default()),
                spec: NodeSpec {
                    role,
                    availability: Availability::Active,
                    labels: BTreeMap::new(),
                },
                description: Default::default(),
                status: NodeStatus::default(),
                drain: None,
            };
            view.nodes.insert(id, Arc::new(node));
        }
        view
    }

    fn ids(numbers: &[u128]) -> BTreeSet<NodeId> {
        numbers.iter().copied().map(NodeId::from_raw).collect()
    }

    #[test]
    fn silent_managers_are_lost_and_workers_are_kept_heard_or_not() {
        let (view, voters) = (view(), ids(&[1, 2, 3]));
        let report = |heard: &[u128]| {
            let survivor = Survivor {
                view: &view,
                me: NodeId::from_raw(1),
                term: Term(3),
                last: Revision(12),
                committed: Revision(10),
                voters: &voters,
                heard: &ids(heard),
                silent_ms: Some(5),
                newest: None,
            };
            let report = survivor.report();
            assert_eq!(report.uncommitted, 2);
            report.lost.iter().map(|member| member.node_id).collect::<BTreeSet<_>>()
        };
        assert_eq!(report(&[]), ids(&[2, 3]));
        assert_eq!(report(&[1, 3]), ids(&[2]));
        assert_eq!(report(&[2, 3, 4]), ids(&[]));
    }

    #[test]
    fn a_directory_without_a_node_is_refused() {
        let dir = tempfile::tempdir().expect("temp dir");
        assert!(matches!(
            examine(dir.path()),
            Err(RecoverError::Config(ConfigError::NoNode { .. }))
        ));
    }
}
