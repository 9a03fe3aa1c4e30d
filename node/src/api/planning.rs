//! Whose turn it is to plan: plans take a processor each, so a node makes one at a time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use super::errors::ApiError;
use crate::work::Work;

/// How long one waits for those that are being made.
const PATIENCE: Duration = Duration::from_secs(8);

/// The turn. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Planning(Arc<Mutex<()>>);

impl Planning {
    /// Does `work` in a thread once nothing else is planned here.
    ///
    /// # Errors
    /// When that takes too long.
    ///
    /// # Cancel safety
    /// Work that has begun goes on, and keeps the turn to its end.
    pub(super) async fn alone<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let Ok(turn) = timeout(PATIENCE, self.0.clone().lock_owned()).await else {
            return Err(ApiError::unavailable(
                "other plans are being made on this node: try again",
            ));
        };
        let work = move || {
            let _turn = turn;
            work()
        };
        Ok(Work::Threads.run(work).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::poll;
    use std::pin::pin;
    use std::sync::mpsc;

    #[tokio::test]
    async fn what_goes_on_after_who_asked_has_gone_keeps_the_turn() {
        let planning = Planning::default();
        let (begun, begins) = tokio::sync::oneshot::channel();
        let (end, ends) = mpsc::channel::<()>();
        let work = move || {
            let _gone = begun.send(());
            ends.recv()
        };
        {
            let mut first = pin!(planning.alone(work));
            assert!(poll!(&mut first).is_pending());
            begins.await.expect("it begins");
        }
        assert!(planning.0.try_lock().is_err(), "it goes on, and another one could begin");
        end.send(()).expect("it waits for that");
        assert_eq!(planning.alone(|| 7).await, Ok(7));
    }
}
