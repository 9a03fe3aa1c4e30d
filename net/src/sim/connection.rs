//! One message's way along a connection: wait while the link is cut, then for the transit time.
//!
//! Which answer follows is not here, nor the order among the messages of a stream.

use swarm_model::id::NodeId;
use tokio::time::{Duration, Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::network::Network;
use crate::rpc::Lane;
use crate::transport::CallError;

/// The two ends of a connection, seen from the one that sends.
#[derive(Debug, Clone)]
pub(super) struct Path {
    pub(super) network: Network,
    pub(super) from: NodeId,
    pub(super) to: NodeId,
    pub(super) lane: Lane,
    /// Cancelled when the connection is closed.
    pub(super) closed: CancellationToken,
}

impl Path {
    /// The same connection from the other end.
    pub(super) fn back(&self) -> Self {
        Self { from: self.to, to: self.from, ..self.clone() }
    }

    /// How long the next message takes once it can go.
    pub(super) fn transit(&self) -> Duration {
        let state = &mut *self.network.state();
        state.link(self.from, self.to).message(&mut state.rng)
    }

    /// Waits until something sent now has arrived.
    ///
    /// # Errors
    /// [`CallError::Closed`] when the connection closes first.
    pub(super) async fn carry(&self) -> Result<(), CallError> {
        self.arrive(Instant::now() + self.transit()).await
    }

    /// Waits until `due`, and longer while the link is cut.
    ///
    /// # Errors
    /// [`CallError::Closed`] when the connection closes first.
    pub(super) async fn arrive(&self, due: Instant) -> Result<(), CallError> {
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(CallError::Closed),
            () = self.travel(due) => Ok(()),
        }
    }

    async fn travel(&self, mut due: Instant) {
        let mut topology = self.network.topology();
        loop {
            sleep_until(due).await;
            topology.mark_unchanged();
            if self.network.state().is_open((self.from, self.to, self.lane)) {
                return;
            }
            // The network itself holds the sender, so this waits for a change and never fails.
            if topology.changed().await.is_err() {
                return;
            }
            due = Instant::now() + self.transit();
        }
    }
}
