//! Where a node does blocking work: files and tables. Consensus and task output have their own ways.

/// Where blocking work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// On the runtime's threads for blocking work.
    Threads,
    /// At once, in the task that asks: for simulations, whose time stands still while threads work.
    Inline,
}

impl Work {
    /// Does `work` and waits for it.
    pub async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match self {
            Self::Inline => work(),
            Self::Threads => match tokio::task::spawn_blocking(work).await {
                Ok(done) => done,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // Never begun, because the runtime ends: so does whoever waits.
                Err(_shut_down) => std::future::pending().await,
            },
        }
    }
}
