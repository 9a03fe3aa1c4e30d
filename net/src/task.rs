//! The owner of every spawned task: tasks are started, cancelled, awaited and, last, aborted here.
//!
//! It does not restart what ended; who spawns a task decides that.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long aborted tasks get to be dropped.
const ABORT_GRACE: Duration = Duration::from_millis(500);

/// A group of tasks with one end. Clones are handles to the same group.
#[derive(Debug, Clone, Default)]
pub struct TaskGroup {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    tracker: TaskTracker,
    /// Asks tasks to end by themselves.
    cancel: CancellationToken,
    /// Drops tasks that did not.
    abort: CancellationToken,
    running: Mutex<BTreeMap<&'static str, usize>>,
}

impl TaskGroup {
    /// An empty group.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts `future` as a task called `name` (for messages about tasks that do not end).
    ///
    /// The future should watch [`TaskGroup::token`]. After [`TaskGroup::shutdown`] it is not run.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub fn spawn<F>(&self, name: &'static str, future: F) -> AbortHandle
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let entry = Entry::new(self.inner.clone(), name);
        let task = async move {
            let inner = entry.inner.clone();
            tokio::select! {
                biased;
                () = inner.abort.cancelled() => {}
                () = future => {}
            }
            drop(entry);
        };
        tokio::spawn(self.inner.tracker.track_future(task)).abort_handle()
    }

    /// The token that tells the group's tasks to end.
    pub fn token(&self) -> CancellationToken {
        self.inner.cancel.clone()
    }

    /// The names of the tasks that run now, with how many of each.
    pub fn running(&self) -> BTreeMap<&'static str, usize> {
        self.inner.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Cancels all tasks, waits for them until `deadline` has passed, then aborts the rest.
    ///
    /// Gives the names of the tasks that had to be aborted; tasks spawned later do not run.
    pub async fn shutdown(&self, deadline: Duration) -> Vec<&'static str> {
        self.inner.cancel.cancel();
        self.inner.tracker.close();
        if tokio::time::timeout(deadline, self.inner.tracker.wait()).await.is_ok() {
            self.inner.abort.cancel();
            return Vec::new();
        }
        let late: Vec<_> = self.running().into_keys().collect();
        self.inner.abort.cancel();
        if tokio::time::timeout(ABORT_GRACE, self.inner.tracker.wait()).await.is_err() {
            tracing::warn!(tasks = ?self.running(), "tasks block their thread and cannot be aborted");
        }
        late
    }
}

/// Counts one task for as long as it lives, however it ends.
struct Entry {
    inner: Arc<Inner>,
    name: &'static str,
}

impl Entry {
    fn new(inner: Arc<Inner>, name: &'static str) -> Self {
        *inner.running.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
        Self { inner, name }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut running = self.inner.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = running.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                running.remove(self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn shutdown_waits_for_tasks_that_end_by_themselves() {
        let group = TaskGroup::new();
        let token = group.token();
        group.spawn("polite", async move { token.cancelled().await });
        assert_eq!(group.running().get("polite"), Some(&1));
        assert!(group.shutdown(Duration::from_secs(5)).await.is_empty());
        assert!(group.running().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_aborts_and_names_tasks_that_hang() {
        let group = TaskGroup::new();
        group.spawn("hanging", std::future::pending());
        assert_eq!(group.shutdown(Duration::from_millis(10)).await, ["hanging"]);
        assert!(group.running().is_empty());
    }

    #[tokio::test]
    async fn tasks_spawned_after_shutdown_do_not_run() {
        let group = TaskGroup::new();
        group.shutdown(Duration::from_secs(1)).await;
        let (tell, told) = tokio::sync::oneshot::channel();
        group.spawn("late", async move { tell.send(()).expect("someone listens") });
        assert!(told.await.is_err(), "the late task ran");
    }
}
