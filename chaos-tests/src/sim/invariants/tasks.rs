//! T: what is seen of a task only moves forward, its node never changes, and one that was forgotten
//! never comes back.

use std::collections::BTreeSet;
use std::sync::Arc;

use swarm_model::id::TaskId;
use swarm_model::task::Task;
use swarm_model::view::View;

use super::Verdict;

/// The newest state that any node has shown, and all tasks that are gone.
#[derive(Debug, Default)]
pub struct Tasks {
    newest: Arc<View>,
    gone: BTreeSet<TaskId>,
}

impl Tasks {
    /// Some node shows `view`; older than the newest one, it is no news.
    ///
    /// # Errors
    /// When a task went back.
    pub fn see(&mut self, view: &Arc<View>) -> Verdict {
        if view.revision <= self.newest.revision {
            return Ok(());
        }
        for (id, task) in &view.tasks {
            match self.newest.tasks.get(id) {
                Some(before) if Arc::ptr_eq(before, task) => {}
                Some(before) => step(before, task)?,
                None if self.gone.contains(id) => {
                    return Err(format!("T: task {id} was forgotten and is back"));
                }
                None => {}
            }
        }
        let gone = self.newest.tasks.keys().filter(|id| !view.tasks.contains_key(*id));
        self.gone.extend(gone.copied());
        self.newest = view.clone();
        Ok(())
    }

    /// The newest state that any node has shown.
    pub fn newest(&self) -> &Arc<View> {
        &self.newest
    }
}

fn step(before: &Task, now: &Task) -> Verdict {
    let id = now.id;
    if before.node.is_some() && before.node != now.node {
        return Err(format!("T: task {id} moved from {:?} to {:?}", before.node, now.node));
    }
    let (was, is) = (before.status.state, now.status.state);
    if is < was || (was.is_terminal() && is != was) {
        return Err(format!("T: task {id} went from {was} to {is}"));
    }
    if now.desired < before.desired {
        return Err(format!(
            "T: task {id} is wanted {} again after {}",
            now.desired, before.desired
        ));
    }
    if (before.service, before.slot) != (now.service, now.slot) {
        return Err(format!("T: task {id} changed its slot"));
    }
    Ok(())
}
