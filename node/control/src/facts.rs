//! What a round decides on: the view, the time, and what they say of a task's node.
//!
//! Reads only; decides nothing.

use std::collections::BTreeMap;

use swarm_model::id::{NodeId, ServiceId};
use swarm_model::node::{Node, Reachability};
use swarm_model::service::Service;
use swarm_model::task::Task;
use swarm_model::task_state::DesiredState;
use swarm_model::units::Timestamp;
use swarm_model::view::View;

/// The arguments of a round, cheap to pass on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) view: &'a View,
    pub(crate) now: Timestamp,
    /// When the leader took the lead, by the same clock.
    pub(crate) led_since: Timestamp,
    /// Whether no job is due, and no deadline of one passes.
    pub(crate) still: bool,
    /// Services in an update, with the template that tasks have where it has no turn yet.
    pub(crate) former: &'a BTreeMap<ServiceId, Service>,
}

/// The services of `view`, as [`Facts::former`] has them.
pub(crate) fn former<'s>(
    view: &View,
    services: impl Iterator<Item = &'s Service>,
) -> BTreeMap<ServiceId, Service> {
    services.filter_map(|service| Some((service.id, view.former(service)?))).collect()
}

/// What became of the node of a task.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Host<'a> {
    /// The task has no node yet.
    Unplaced,
    /// No member any more.
    Gone,
    /// A member that is silent.
    Down(&'a Node),
    /// A member that is heard from, or was not missed yet.
    Alive(&'a Node),
}

impl<'a> Host<'a> {
    /// What a member is.
    pub(crate) fn member(node: &'a Node) -> Self {
        match node.status.reachability {
            Reachability::Down => Self::Down(node),
            Reachability::Unknown | Reachability::Ready => Self::Alive(node),
        }
    }
}

impl<'a> Facts<'a> {
    /// What became of `node`.
    pub(crate) fn host(&self, node: Option<NodeId>) -> Host<'a> {
        let Some(id) = node else { return Host::Unplaced };
        self.view.nodes.get(&id).map_or(Host::Gone, |node| Host::member(node))
    }

    /// Whether `task` may be forgotten once nobody wants it: nothing of it is left anywhere.
    pub(crate) fn has_vanished(&self, task: &Task) -> bool {
        if task.status.state.is_terminal() {
            return true;
        }
        match self.host(task.node) {
            Host::Unplaced | Host::Gone => true,
            Host::Down(_) | Host::Alive(_) => false,
        }
    }
}

/// Whether `task` was made from the template its service has now.
pub(crate) fn is_current(task: &Task, service: &Service) -> bool {
    task.template_version == service.template_version
}

/// Whether `task` ended though it was not asked to, and was not replaced yet: what is replaced is
/// wanted Shutdown.
pub(crate) fn ended_by_itself(task: &Task) -> bool {
    task.status.state.is_terminal() && task.desired <= DesiredState::Running
}

/// Orders the tasks of one slot, the newest last: the one whose end is still to be dealt with, then
/// the active ones, then by their last change. Never by time, which goes back when the lead
/// passes to a node with another clock.
pub(crate) fn recency(task: &Task) -> impl Ord + use<> {
    (ended_by_itself(task), task.is_active(), task.meta.version, task.id)
}
