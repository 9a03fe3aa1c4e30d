//! Where blocking work is done, how a full disk is waited for, and when the tables are free again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::{CancellationToken, DropGuard};

/// How often it is tried whether a full disk has room again.
const ROOM_RETRY: Duration = Duration::from_millis(500);

/// Where blocking work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// On the runtime's threads for blocking work.
    Threads,
    /// At once, in the task that asks: for simulations.
    Inline,
}

impl Work {
    /// Does `work` and waits for it.
    pub(crate) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        match self {
            Self::Inline => work(),
            Self::Threads => {
                tokio::task::spawn_blocking(work).await.map_err(io::Error::other).flatten()
            }
        }
    }
}

/// Whether an operation failed only for lack of space, so that nothing changed.
pub(crate) fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::StorageFull
}

/// Waits a little. To openraft every failed write is fatal; waiting instead makes this node slow (a leader
/// that cannot write sends no heartbeats and is replaced), and it goes on by itself when there is room.
pub(crate) async fn wait_for_room(error: &io::Error) {
    tracing::error!(%error, "consensus waits for disk space on this node");
    tokio::time::sleep(ROOM_RETRY).await;
}

/// Held by everything that uses the tables; openraft drops its parts one after the other.
#[derive(Debug, Clone)]
pub(crate) struct User(#[expect(dead_code, reason = "dropping is its use")] Arc<DropGuard>);

/// The first user, and a token that is cancelled when the last of its clones is dropped.
pub(crate) fn users() -> (User, CancellationToken) {
    let unused = CancellationToken::new();
    (User(Arc::new(unused.clone().drop_guard())), unused)
}
