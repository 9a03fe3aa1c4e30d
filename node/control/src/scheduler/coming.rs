//! What comes free of a node of itself, because tasks there were asked to end.
//!
//! Only sums it up; who gets it is decided elsewhere.

use std::time::Duration;

use swarm_model::id::NodeId;
use swarm_model::resources::Resources;
use swarm_model::task::Task;
use swarm_model::view::View;

/// What takes longer to end is not waited for, unless it ends to make room.
const GRACE_MAX: Duration = Duration::from_secs(60);

/// What a plan that is being written does to a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing so far.
    Open,
    /// It changes, and must not change again.
    Settled,
    /// It ends.
    Ending,
}

/// Whether `task` ends so soon that its room is as good as free.
pub(super) fn ends_soon(task: &Task, fate: &dyn Fn(&Task) -> Fate) -> bool {
    let soon = Duration::from_millis(task.template.stop_grace_ms) <= GRACE_MAX;
    ends(task, fate) && (soon || task.is_preempted())
}

/// Whether `task` was asked to end, or is by the plan, and did not yet.
pub(super) fn ends(task: &Task, fate: &dyn Fn(&Task) -> Fate) -> bool {
    task.holds_node() && (!task.is_active() || fate(task) == Fate::Ending)
}

/// All that comes free of `node`.
pub(super) fn total(view: &View, node: NodeId, fate: &dyn Fn(&Task) -> Fate) -> Resources {
    let mut comes = Resources::default();
    for task in view.tasks_on(node).filter(|task| ends_soon(task, fate)) {
        comes.add(&task.template.resources.reservations);
    }
    comes
}
