//! What a round decides on: the view, the time, and what they say of a task's node.
//!
//! Reads only; decides nothing.

use swarm_model::id::NodeId;
use swarm_model::node::{Node, Reachability};
use swarm_model::service::Service;
use swarm_model::task::Task;
use swarm_model::units::Timestamp;
use swarm_model::view::View;

/// The arguments of a round, cheap to pass on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) view: &'a View,
    pub(crate) now: Timestamp,
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

/// Orders the tasks of one slot by age, oldest first. Two tasks of the same millisecond are told
/// apart by their last change: the older one ended before the newer one was made.
pub(crate) fn age(task: &Task) -> impl Ord + use<> {
    (task.meta.created_at, task.meta.version, task.id)
}
