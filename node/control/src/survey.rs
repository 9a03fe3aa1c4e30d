//! What a round looks at: the services in its scope, and everything that waits.
//!
//! Costs as much as the scope is large. What becomes due at a time is found because the round that saw
//! it coming asked to be woken for that service.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use swarm_model::id::ServiceId;
use swarm_model::service::{Service, ServiceMode};
use swarm_model::task::{Eviction, REBALANCED_WITHIN, Task};
use swarm_model::task_state::DesiredState;
use swarm_model::view::View;

use crate::draft::Draft;
use crate::facts::{Facts, Host};
use crate::lifecycle;
use crate::restart;
use crate::scope::Scope;

/// What was found.
#[derive(Debug)]
pub(crate) struct Survey<'a> {
    /// The services to look at, the most important ones first.
    pub(crate) services: Vec<&'a Service>,
    /// Tasks whose service does not exist.
    pub(crate) strays: Vec<&'a Task>,
}

impl<'a> Survey<'a> {
    /// Finds what is in `scope`, and what waits for a place whatever the scope.
    pub(crate) fn new(view: &'a View, scope: &Scope) -> Self {
        let mut ids: BTreeSet<ServiceId> = scope.services.clone();
        for node in &scope.nodes {
            ids.extend(view.tasks_on(*node).map(|task| task.service));
        }
        if scope.all {
            ids.extend(view.services.keys());
            // By service, so that most are the one before.
            ids.extend(view.service_tasks.iter().map(|(service, _, _)| *service));
        } else if !scope.nodes.is_empty() {
            let global = view.services.values().filter(|service| is_global(service));
            ids.extend(global.map(|service| service.id));
        }
        let waiting = view.waiting.iter().filter_map(|task| view.tasks.get(task));
        ids.extend(waiting.map(|task| task.service));
        let mut survey = Self { services: Vec::new(), strays: Vec::new() };
        for id in ids {
            match view.services.get(&id) {
                Some(service) => survey.services.push(service),
                None => survey.strays.extend(view.tasks_of(id).map(AsRef::as_ref)),
            }
        }
        survey.services.sort_by_key(|service| (Reverse(service.spec.priority), service.id));
        survey
    }
}

fn is_global(service: &Service) -> bool {
    match service.spec.mode {
        ServiceMode::Global {} | ServiceMode::GlobalJob {} => true,
        ServiceMode::Replicated { .. } | ServiceMode::ReplicatedJob { .. } => false,
    }
}

/// Asks to be woken when something has to be done about `task` though nothing happens.
pub(crate) fn note_wake(facts: Facts<'_>, task: &Task, draft: &mut Draft) {
    if task.status.state.is_terminal() {
        return;
    }
    if task.is_active() && task.desired == DesiredState::Ready {
        restart::delayed_until(task, facts.now)
            .into_iter()
            .for_each(|at| draft.wake(task.service, at));
    }
    if task.is_active()
        && let Some(Eviction::Rebalanced { at, .. }) = task.eviction
    {
        let lapses = at.after(REBALANCED_WITHIN);
        let ahead = lapses > facts.now && at.since(facts.now) < REBALANCED_WITHIN;
        ahead.then_some(lapses).into_iter().for_each(|at| draft.wake(task.service, at));
    }
    let due_at = match facts.host(task.node) {
        Host::Unplaced | Host::Gone => None,
        Host::Down(_) if task.is_active() => None,
        Host::Down(node) => Some(lifecycle::gives_up_at(node.status.since)),
        Host::Alive(node) if task.is_active() => node.drain.and_then(|drain| drain.deadline),
        Host::Alive(_) => None,
    };
    due_at.filter(|at| *at > facts.now).into_iter().for_each(|at| draft.wake(task.service, at));
}
