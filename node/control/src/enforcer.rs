//! Whether a task may stay where it is: drains, constraints that no longer hold, lost nodes.
//!
//! Says what is true of one task; what follows from it is the orchestrator's.

use swarm_model::id::NodeId;
use swarm_model::node::{Availability, Node};
use swarm_model::restart::Reschedule;
use swarm_model::service::Service;
use swarm_model::task::{Eviction, REBALANCED_WITHIN, Slot, Task};
use swarm_model::task_state::ObservedState;
use swarm_model::units::Timestamp;
use swarm_model::update::UpdateState;

use crate::facts::{Facts, Host, is_current};

/// How an active task stands to its node and its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stance {
    /// As it should be.
    Good,
    /// Made from an older template.
    Outdated,
    /// Its node is drained; it serves until its replacement runs, at most until the deadline.
    Drained {
        /// When it ends in any case.
        deadline: Option<Timestamp>,
    },
    /// Its node does not meet the constraints any more. It serves until its replacement runs, but
    /// ends at once when there is no place for one: a constraint is a rule.
    Forbidden,
    /// Somebody asked for it to move there; it serves until its replacement runs, and stays when that
    /// does not fit.
    Evicted {
        /// Where to.
        to: NodeId,
    },
    /// Its node is lost: it is replaced at once.
    Lost,
    /// Its node is silent, but the slot belongs to that node.
    Held,
}

/// How `task`, which is active, stands.
pub(crate) fn stance(facts: Facts<'_>, service: &Service, task: &Task) -> Stance {
    let node = match facts.host(task.node) {
        Host::Unplaced if is_current(task, service) => return Stance::Good,
        Host::Unplaced => return Stance::Outdated,
        Host::Gone => return Stance::Lost,
        Host::Down(_) if waits_for_its_node(service, task) => return Stance::Held,
        Host::Down(_) => return Stance::Lost,
        Host::Alive(node) => node,
    };
    match node.spec.availability {
        Availability::Drain => {
            Stance::Drained { deadline: node.drain.and_then(|drain| drain.deadline) }
        }
        Availability::Active | Availability::Pause => {
            if !meets_constraints(service, node) {
                Stance::Forbidden
            } else if is_current(task, service) {
                evicted(facts, service, task).map_or(Stance::Good, |to| Stance::Evicted { to })
            } else {
                Stance::Outdated
            }
        }
    }
}

/// Where `task` was asked to move, if it runs and that still holds: what an update is about moves by that,
/// and what could not move for long stays.
fn evicted(facts: Facts<'_>, service: &Service, task: &Task) -> Option<NodeId> {
    let (at, to) = match task.eviction? {
        Eviction::Rebalanced { at, to } => (at, to),
        Eviction::Preempted { .. } => return None,
    };
    let runs = task.status.state == ObservedState::Running;
    let updated = service.update.as_ref().is_some_and(UpdateState::is_open);
    // Another clock may have said when.
    let away = facts.now.since(at).max(at.since(facts.now));
    let open = facts.view.nodes.get(&to).is_some_and(|node| node.takes_tasks());
    (runs && !updated && open && away < REBALANCED_WITHIN).then_some(to)
}

/// Whether `node` meets all constraints of `service`.
pub(crate) fn meets_constraints(service: &Service, node: &Node) -> bool {
    service.template.placement.constraints.iter().all(|constraint| constraint.allows(node))
}

/// Whether nothing replaces `task` while its node is silent: neither what it was made from nor what
/// would replace it wants that.
fn waits_for_its_node(service: &Service, task: &Task) -> bool {
    match task.slot {
        Slot::Node(_) | Slot::JobNode { .. } => true,
        Slot::Replica(_) | Slot::Job { .. } => {
            [&service.template, &task.template].iter().all(|template| {
                match template.restart_policy.reschedule {
                    Reschedule::Always => false,
                    Reschedule::Never => true,
                }
            })
        }
    }
}
