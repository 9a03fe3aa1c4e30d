//! The newest status of each task of this node, and which of them the leader has not been told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use swarm_model::command::StatusReport;
use swarm_model::id::TaskId;
use swarm_model::task::TaskStatus;
use swarm_model::task_state::ObservedState;
use tokio::sync::Notify;

/// Where statuses are also whispered, besides being told to the leader.
pub trait Whisper: std::fmt::Debug + Send + Sync {
    /// A task's newest status.
    fn publish(&self, task: TaskId, status: &TaskStatus);
    /// A task that is forgotten.
    fn retract(&self, task: TaskId);
}

/// Statuses of this node's tasks. Newest wins; a state never goes back.
#[derive(Debug)]
pub struct Board {
    inner: Mutex<Inner>,
    news: Notify,
    whisper: Arc<dyn Whisper>,
}

#[derive(Debug, Default)]
struct Inner {
    newest: BTreeMap<TaskId, TaskStatus>,
    untold: BTreeSet<TaskId>,
}

/// Whether an untold status should wait for company.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Nothing to tell.
    Idle,
    /// Only steps on the way: the next one usually follows at once.
    Soon,
    /// Somebody waits for it: it runs, or it ended.
    Now,
}

impl Board {
    /// An empty board.
    pub fn new(whisper: Arc<dyn Whisper>) -> Self {
        Self { inner: Mutex::default(), news: Notify::new(), whisper }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what was seen of a task.
    pub fn post(&self, task: TaskId, status: TaskStatus) {
        let status = status.shortened();
        {
            let mut inner = self.lock();
            let newer = inner.newest.get(&task).is_none_or(|old| {
                !old.state.is_terminal() && status.state >= old.state && *old != status
            });
            if !newer {
                return;
            }
            self.whisper.publish(task, &status);
            inner.newest.insert(task, status);
            inner.untold.insert(task);
        }
        self.news.notify_one();
    }

    /// Forgets a task.
    pub fn forget(&self, task: TaskId) {
        let mut inner = self.lock();
        inner.newest.remove(&task);
        inner.untold.remove(&task);
        self.whisper.retract(task);
    }

    /// The newest status of a task.
    pub fn status(&self, task: TaskId) -> Option<TaskStatus> {
        self.lock().newest.get(&task).cloned()
    }

    /// A new leader knows nothing: everything is untold again.
    pub fn tell_all(&self) {
        let mut inner = self.lock();
        inner.untold = inner.newest.keys().copied().collect();
        drop(inner);
        self.news.notify_one();
    }

    /// How urgent the untold ones are.
    pub fn urgency(&self) -> Urgency {
        let inner = self.lock();
        let urgent = inner
            .untold
            .iter()
            .filter_map(|task| inner.newest.get(task))
            .any(|status| status.state >= ObservedState::Running);
        match (urgent, inner.untold.is_empty()) {
            (true, _) => Urgency::Now,
            (false, false) => Urgency::Soon,
            (false, true) => Urgency::Idle,
        }
    }

    /// Takes up to `most` untold statuses.
    pub fn take(&self, most: usize) -> Vec<StatusReport> {
        let mut inner = self.lock();
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some(task) = inner.untold.pop_first()
        {
            if let Some(status) = inner.newest.get(&task) {
                taken.push(StatusReport { task, status: status.clone() });
            }
        }
        taken
    }

    /// Waits until something was posted.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn changed(&self) {
        self.news.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use swarm_model::units::Timestamp;

    #[derive(Debug)]
    struct Nobody;

    impl Whisper for Nobody {
        fn publish(&self, _: TaskId, _: &TaskStatus) {}
        fn retract(&self, _: TaskId) {}
    }

    fn status(state: ObservedState) -> TaskStatus {
        TaskStatus::new(state, Timestamp::default(), "")
    }

    #[test]
    fn the_newest_status_is_told_once() {
        let (board, task) = (Board::new(Arc::new(Nobody)), TaskId::from_raw(1));
        board.post(task, status(ObservedState::Accepted));
        assert_eq!(board.urgency(), Urgency::Soon);
        board.post(task, status(ObservedState::Running));
        board.post(task, status(ObservedState::Preparing));
        assert_eq!(board.urgency(), Urgency::Now);
        let told = board.take(10);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].status.state, ObservedState::Running);
        assert_eq!((board.take(10).len(), board.urgency()), (0, Urgency::Idle));
        board.tell_all();
        assert_eq!(board.take(10).len(), 1);
    }

    #[test]
    fn an_end_is_final() {
        let (board, task) = (Board::new(Arc::new(Nobody)), TaskId::from_raw(1));
        board.post(task, status(ObservedState::Failed));
        board.post(task, status(ObservedState::Orphaned));
        assert_eq!(board.status(task).map(|s| s.state), Some(ObservedState::Failed));
    }
}
