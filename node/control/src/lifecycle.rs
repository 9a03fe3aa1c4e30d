//! The ends of things: services being removed, tasks without a service, tasks of lost nodes.
//!
//! Replaces nothing.

use std::time::Duration;

use swarm_model::service::Service;
use swarm_model::task::Task;
use swarm_model::task_state::DesiredState;
use swarm_model::units::Timestamp;

use crate::draft::Draft;
use crate::facts::{Facts, Host};
use crate::reaper;

/// How long a stopped task of a silent node is remembered as such, so that the node can still be
/// told to stop it; then it counts as ended. (Swarmkit waits the same time.)
pub const ORPHAN_AFTER: Duration = Duration::from_secs(24 * 3600);

/// One step towards the end of a service that is being removed.
pub(crate) fn remove_service(
    facts: Facts<'_>,
    service: &Service,
    tasks: &[&Task],
    draft: &mut Draft,
) {
    for task in tasks {
        bury(facts, task, draft);
    }
    if tasks.iter().all(|task| facts.has_vanished(task)) {
        draft.delete_service(service);
    }
}

/// One step towards the end of a task that nobody wants: stopped, then forgotten.
pub(crate) fn bury(facts: Facts<'_>, task: &Task, draft: &mut Draft) {
    reaper::forget(facts, task, draft);
    draft.desire(task, DesiredState::Remove);
    give_up_lost(facts, task, draft);
}

/// Gives a task up whose node is gone for ever, or silent for too long after it was stopped.
pub(crate) fn give_up_lost(facts: Facts<'_>, task: &Task, draft: &mut Draft) {
    if task.status.state.is_terminal() {
        return;
    }
    match facts.host(task.node) {
        Host::Gone => draft.orphan(task, "its node was removed from the cluster"),
        Host::Down(node) if task.desired >= DesiredState::Shutdown => {
            if gives_up_at(node.status.since) <= facts.now {
                draft.orphan(task, "its node has been down for 24 hours");
            }
        }
        Host::Down(_) | Host::Unplaced | Host::Alive(_) => {}
    }
}

/// When the stopped tasks of a node that is silent since `since` are given up.
pub(crate) fn gives_up_at(since: Timestamp) -> Timestamp {
    since.after(ORPHAN_AFTER)
}
