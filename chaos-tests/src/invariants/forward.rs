//! T: a task's observed state never goes back, and its node never changes.

use std::collections::BTreeMap;

use swarm_model::id::{NodeId, TaskId};
use swarm_model::meta::Revision;
use swarm_model::task_state::ObservedState;

use super::Look;

#[derive(Debug, Clone, Copy)]
struct Seen {
    revision: Revision,
    state: ObservedState,
    node: Option<NodeId>,
}

/// Remembers the newest of each task.
#[derive(Debug, Default)]
pub struct StatesGoForward {
    tasks: BTreeMap<TaskId, Seen>,
}

impl StatesGoForward {
    /// Compares a node's view, at its revision, with what was seen before.
    ///
    /// # Errors
    /// A task that went back or moved.
    pub fn see(&mut self, look: &Look) -> Result<(), String> {
        for entry in &look.tasks {
            let task = &entry.task;
            let now = Seen { revision: look.revision, state: task.status.state, node: task.node };
            let known = *self.tasks.entry(task.id).or_insert(now);
            // Replicas lag: order by revision, not by when we looked.
            let (older, newer) =
                if known.revision <= now.revision { (known, now) } else { (now, known) };
            if older.state > newer.state {
                return Err(format!(
                    "task {} was {} at {} and {} at {}",
                    task.id, older.state, older.revision, newer.state, newer.revision
                ));
            }
            if older.node.is_some() && older.node != newer.node {
                return Err(format!("task {} moved: {older:?}, {newer:?}", task.id));
            }
            self.tasks.insert(task.id, newer);
        }
        Ok(())
    }
}
