//! When this node last heard a valid leader: written by the service, read by the pacemaker.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

/// The time of the last contact. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Contact(Arc<Mutex<Instant>>);

impl Contact {
    /// Counts as a contact now.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    pub(crate) fn touch(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    pub(crate) fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
