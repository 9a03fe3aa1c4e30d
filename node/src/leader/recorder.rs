//! Records what agents report: whatever arrived while the last batch was agreed on goes together, and
//! health that comes and goes is recorded now and then.

use std::collections::BTreeMap;
use std::time::Duration;

use swarm_model::command::{Op, StatusReport};
use swarm_model::id::{NodeId, TaskId};
use swarm_model::task::TaskStatus;
use swarm_model::view::View;
use swarm_raft::Error;
use swarm_state::mistake::{Mistake, planted};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::calm::Calm;
use crate::core::Core;
use crate::dispatch::wire::REPORTS_PER_MESSAGE;

/// Batches taken together.
const BATCHES: usize = 64;
/// Pause after a batch that could not be agreed on.
const RETRY: Duration = Duration::from_millis(100);

/// Records reports until the term ends.
pub(super) async fn run(core: &Core, mut waiting: mpsc::Receiver<(NodeId, Vec<StatusReport>)>) {
    let mut calm = Calm::default();
    loop {
        let mut batches = Vec::new();
        let due = async {
            match calm.next() {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            taken = waiting.recv_many(&mut batches, BATCHES) => if taken == 0 { return },
            () = due => {}
        }
        let view = core.consensus.view();
        for (node, reports) in calm.admit(&view, Instant::now(), newest(batches)) {
            for part in reports.chunks(REPORTS_PER_MESSAGE) {
                if !record(core, node, part.to_vec()).await {
                    return;
                }
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
    let reports: Vec<_> =
        reports.into_iter().filter(|report| is_news(&view, node, report)).collect();
    if reports.is_empty() {
        return true;
    }
    let mut parts = vec![reports];
    while let Some(reports) = parts.pop() {
        let command = core.own_command(Op::ReportStatus { node, reports: reports.clone() });
        match core.consensus.propose(&command).await {
            Ok(_) => {}
            Err(Error::TooLarge { size, .. }) => match halves(reports) {
                Some((first, second)) => parts.extend([second, first]),
                None => tracing::warn!(node_id = %node, size, "a status is too large to record"),
            },
            // Agents tell the next leader everything again.
            Err(Error::NotLeader { .. } | Error::Stopped { .. }) => return false,
            Err(error) => {
                tracing::warn!(node_id = %node, %error, "task statuses not recorded, trying again");
                parts.push(reports);
                tokio::time::sleep(RETRY).await;
            }
        }
    }
    true
}

/// Whether recording it would change anything: what a node says of other nodes' tasks, or what it may not
/// say at all, is not worth an entry.
fn is_news(view: &View, node: NodeId, report: &StatusReport) -> bool {
    let Some(task) = view.tasks.get(&report.task) else { return false };
    let own = task.node == Some(node) || planted(Mistake::TrustForeignStatus);
    let newer = task.status.state <= report.status.state && !task.status.state.is_terminal();
    let news = (newer || planted(Mistake::StatusGoesBack)) && task.status != report.status;
    own && news && report.status.validate().is_ok()
}

/// Two parts of a batch; `None` when it cannot be parted.
fn halves<T>(mut all: Vec<T>) -> Option<(Vec<T>, Vec<T>)> {
    if all.len() < 2 {
        return None;
    }
    let second = all.split_off(all.len() / 2);
    Some((all, second))
}

/// Task 1 on `node`.
#[cfg(test)]
pub(super) fn sample_task(node: NodeId, status: TaskStatus) -> swarm_model::task::Task {
    swarm_model::task::Task {
        id: TaskId::from_raw(1),
        meta: Default::default(),
        service: swarm_model::id::ServiceId::from_raw(9),
        slot: swarm_model::task::Slot::Replica(1),
        node: Some(node),
        template_version: swarm_model::meta::Version(1),
        template: std::sync::Arc::new(swarm_model::fuzz::sample::template()),
        desired: swarm_model::task_state::DesiredState::Running,
        status,
        not_before: None,
        restart: Default::default(),
        eviction: None,
        update: None,
        ran_at: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_model::task_state::ObservedState::{self, Failed, Preparing, Running};
    use swarm_model::units::Timestamp;

    fn batch(node: u128, reports: &[(u128, ObservedState)]) -> (NodeId, Vec<StatusReport>) {
        let report = |(task, state): &(u128, ObservedState)| StatusReport {
            task: TaskId::from_raw(*task),
            status: TaskStatus::new(*state, Timestamp::default(), ""),
        };
        (NodeId::from_raw(node), reports.iter().map(report).collect())
    }

    #[test]
    fn of_several_reports_the_furthest_counts_for_each_node_and_task() {
        let check = |batches: &[(NodeId, Vec<StatusReport>)], expect: &[(u128, u128, _)]| {
            let newest = newest(batches.to_vec());
            let flat: Vec<_> = newest
                .iter()
                .flat_map(|(node, reports)| reports.iter().map(move |report| (node, report)))
                .map(|(node, report)| (node.raw(), report.task.raw(), report.status.state))
                .collect();
            assert_eq!(flat, expect);
        };
        check(&[], &[]);
        check(&[batch(1, &[(1, Preparing), (1, Running)])], &[(1, 1, Running)]);
        check(&[batch(1, &[(1, Failed)]), batch(1, &[(1, Running)])], &[(1, 1, Failed)]);
        // What one node says of another's task is kept apart: the state machine ignores it.
        let lie = [batch(1, &[(1, Running)]), batch(2, &[(1, Failed), (2, Running)])];
        check(&lie, &[(1, 1, Running), (2, 1, Failed), (2, 2, Running)]);
    }

    /// A view with task 1 in `state` on `node`.
    fn with_task(node: NodeId, state: ObservedState) -> View {
        let mut view = View::default();
        view.put_task(sample_task(node, TaskStatus::new(state, Timestamp::default(), "")));
        view
    }

    #[test]
    fn only_what_would_change_the_record_of_an_own_task_is_recorded() {
        let (node, other) = (NodeId::from_raw(1), NodeId::from_raw(2));
        let (_, reports) = batch(1, &[(1, Running)]);
        let view = with_task(node, Preparing);
        assert!(is_news(&view, node, &reports[0]));
        assert!(!is_news(&with_task(node, Running), node, &reports[0]), "known");
        assert!(!is_news(&with_task(node, Failed), node, &reports[0]), "it has ended");
        assert!(!is_news(&view, other, &reports[0]), "another node's task");
        let mut long = reports[0].clone();
        long.status.error = "x".repeat(swarm_model::task::STATUS_TEXT_MAX + 1);
        assert!(!is_news(&view, node, &long), "longer than anybody may write");
        let (_, unknown) = batch(1, &[(9, Running)]);
        assert!(!is_news(&view, node, &unknown[0]));
    }

    #[test]
    fn a_batch_that_is_too_large_is_parted_down_to_single_reports() {
        assert_eq!(halves(vec![1, 2, 3]), Some((vec![1], vec![2, 3])));
        assert_eq!(halves(vec![1]), None);
        assert_eq!(halves::<u8>(Vec::new()), None);
    }
}
