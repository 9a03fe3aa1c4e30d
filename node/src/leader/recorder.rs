//! Records what agents report: whatever arrived while the last batch was agreed on goes together.

use std::collections::BTreeMap;
use std::time::Duration;

use swarm_model::command::{Op, StatusReport};
use swarm_model::id::{NodeId, TaskId};
use swarm_model::task::TaskStatus;
use swarm_raft::Error;
use tokio::sync::mpsc;

use crate::core::Core;

/// Batches taken together.
const BATCHES: usize = 64;
/// Pause after a batch that could not be agreed on.
const RETRY: Duration = Duration::from_millis(100);

/// Records reports until the term ends.
pub(super) async fn run(core: &Core, mut waiting: mpsc::Receiver<(NodeId, Vec<StatusReport>)>) {
    let mut batches = Vec::new();
    while waiting.recv_many(&mut batches, BATCHES).await > 0 {
        for (node, reports) in newest(std::mem::take(&mut batches)) {
            if !record(core, node, reports).await {
                return;
            }
        }
    }
}

/// Of several reports about one task the newest counts.
fn newest(batches: Vec<(NodeId, Vec<StatusReport>)>) -> BTreeMap<NodeId, Vec<StatusReport>> {
    let mut newest: BTreeMap<NodeId, BTreeMap<TaskId, TaskStatus>> = BTreeMap::new();
    for (node, reports) in batches {
        let tasks = newest.entry(node).or_default();
        for StatusReport { task, status } in reports {
            match tasks.get(&task) {
                Some(known) if known.state > status.state => {}
                Some(_) | None => drop(tasks.insert(task, status)),
            }
        }
    }
    let report = |(task, status)| StatusReport { task, status };
    newest
        .into_iter()
        .map(|(node, tasks)| (node, tasks.into_iter().map(report).collect()))
        .collect()
}

async fn record(core: &Core, node: NodeId, reports: Vec<StatusReport>) -> bool {
    let view = core.consensus.view();
    let reports: Vec<_> = reports
        .into_iter()
        .filter(|report| view.tasks.get(&report.task).is_some_and(|t| t.status != report.status))
        .collect();
    if reports.is_empty() {
        return true;
    }
    let command = core.own_command(Op::ReportStatus { node, reports });
    loop {
        match core.consensus.propose(&command).await {
            Ok(_) => return true,
            // Agents tell the next leader everything again.
            Err(Error::NotLeader { .. } | Error::Stopped { .. }) => return false,
            Err(error) => {
                tracing::warn!(node_id = %node, %error, "task statuses not recorded, trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}
