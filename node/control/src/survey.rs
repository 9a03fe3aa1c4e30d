//! One pass over the view before anything is decided: which services this round has to look at,
//! what each node still has, and when to look again.
//!
//! This is the only part whose cost follows the whole cluster instead of the scope.

use std::collections::BTreeSet;

use swarm_model::id::ServiceId;
use swarm_model::service::ServiceMode;
use swarm_model::task::Task;
use swarm_model::task_state::DesiredState;

use crate::draft::Draft;
use crate::facts::{Facts, Host};
use crate::lifecycle;
use crate::restart;
use crate::scheduler::node_info::NodeSet;
use crate::scope::Scope;

/// What the pass found.
#[derive(Debug)]
pub(crate) struct Survey<'a> {
    /// The services to look at.
    pub(crate) services: BTreeSet<ServiceId>,
    /// Tasks whose service does not exist.
    pub(crate) strays: Vec<&'a Task>,
    /// The nodes and what runs there.
    pub(crate) nodes: NodeSet<'a>,
}

impl<'a> Survey<'a> {
    /// Looks at everything once; notes in `draft` when the next delay or deadline ends.
    pub(crate) fn new(facts: Facts<'a>, scope: &Scope, draft: &mut Draft) -> Self {
        let view = facts.view;
        let mut survey =
            Self { services: BTreeSet::new(), strays: Vec::new(), nodes: NodeSet::new(view) };
        for (id, service) in &view.services {
            let global = match service.spec.mode {
                ServiceMode::Global {} => true,
                ServiceMode::Replicated { .. } => false,
            };
            let touched = scope.services.contains(id) || global && !scope.nodes.is_empty();
            if scope.all || touched || service.removing {
                survey.services.insert(*id);
            }
        }
        for task in view.tasks.values() {
            let node = survey.nodes.count(task);
            if !view.services.contains_key(&task.service) {
                survey.strays.push(task);
                continue;
            }
            let host = match task.node {
                None => Host::Unplaced,
                Some(_) => node.map_or(Host::Gone, Host::member),
            };
            let in_scope = task.node.is_some_and(|node| scope.nodes.contains(&node));
            if is_due(facts, task, host, draft) || in_scope {
                survey.services.insert(task.service);
            }
        }
        survey
    }
}

/// Whether something can or must be done about `task` now, whatever the scope; otherwise notes
/// when that will be.
fn is_due(facts: Facts<'_>, task: &Task, host: Host<'_>, draft: &mut Draft) -> bool {
    if task.desired == DesiredState::Remove && facts.has_vanished(task) {
        return true;
    }
    if task.status.state.is_terminal() {
        return false;
    }
    let delayed = task.is_active() && task.desired == DesiredState::Ready;
    if delayed {
        match restart::delayed_until(task, facts.now) {
            Some(at) => draft.wake(at),
            None => return true,
        }
    }
    let due_at = match host {
        Host::Unplaced => return task.is_active(),
        Host::Gone => return true,
        Host::Down(_) if task.is_active() => return false,
        Host::Down(node) => Some(lifecycle::gives_up_at(node.status.since)),
        Host::Alive(node) if task.is_active() => node.drain.and_then(|drain| drain.deadline),
        Host::Alive(_) => None,
    };
    match due_at {
        Some(at) if at > facts.now => {
            draft.wake(at);
            false
        }
        Some(_) => true,
        None => false,
    }
}
