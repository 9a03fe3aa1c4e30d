//! What was agreed on at the end of a run, by the log on the leader's disk: all writes that clients asked for,
//! each where it took effect.
//!
//! It goes back to the newest snapshot, so in half of the runs to the beginning. What became of it is judged
//! by [`revisions`](crate::history::revisions).

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use swarm_model::command::{Command, Op};
use swarm_model::event::{Event, Subject};
use swarm_node::api::backend::Backend;
use swarm_raft::Replica;

use super::cluster::Cluster;
use super::faults::leader;
use super::ledger::VALUE;
use crate::history::revisions::{Evidence, Written};

/// The writes of a log.
#[derive(Debug)]
pub(super) struct FinalLog {
    from: u64,
    writes: Vec<Written>,
}

impl FinalLog {
    /// Reads the leader's; of all writes those to `registers`.
    ///
    /// # Errors
    /// When nobody leads, or the log does not read back.
    pub(super) fn read(cluster: &Cluster, registers: &BTreeSet<String>) -> anyhow::Result<Self> {
        let number = leader(cluster).context("nobody leads")?;
        let applied = cluster.node(number)?.view().revision;
        let tables = cluster.tables(number)?;
        let mut writes = Vec::new();
        let replica = Replica::read_along(&tables, &mut |at, command, events| {
            let written = written(command, events);
            writes.extend(written.map(|(key, value)| Written { key, value, revision: at.0 }));
        })?;
        writes.retain(|it| it.revision <= applied.0 && registers.contains(&it.key));
        Ok(Self { from: replica.snapshot().0 + 1, writes })
    }

    /// For the check.
    pub(super) fn evidence(&self) -> Evidence<'_> {
        Evidence::Log { from: self.from, writes: &self.writes }
    }

    /// How many writes it holds.
    pub(super) fn len(&self) -> usize {
        self.writes.len()
    }
}

/// What a command wrote, and to which register; nothing when it was refused, or repeated.
fn written(command: &Command, events: &[Event]) -> Option<(String, Option<u64>)> {
    let labels = match &command.op {
        Op::CreateConfig { spec, .. } | Op::UpdateConfig { spec, .. } => Some(&spec.labels),
        Op::CreateService { spec, .. } | Op::UpdateService { spec, .. } => Some(&spec.labels),
        Op::RemoveConfig { .. } | Op::RemoveService { .. } => None,
        _ => return None,
    };
    let value =
        |labels: &BTreeMap<String, String>| labels.get(VALUE).and_then(|text| text.parse().ok());
    let about = |event: &&Event| matches!(event.subject, Subject::Config(_) | Subject::Service(_));
    let name = events.iter().find(about)?.name.clone();
    Some((name, labels.and_then(value)))
}
