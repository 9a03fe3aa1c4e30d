//! The disk's own limit: appends of the same size, group-committed with one `fdatasync` a group.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::thread;

use anyhow::{Context as _, Result};
use tokio::sync::{mpsc, oneshot};

use super::load::Writer;

/// More clients than any load has.
const QUEUE: usize = 1024;

type Append = (Vec<u8>, oneshot::Sender<()>);

/// A client of the file's one committer.
#[derive(Debug, Clone)]
pub(super) struct RawWriter {
    queue: mpsc::Sender<Append>,
}

impl RawWriter {
    /// Starts the committer of a new file; it ends with its last client.
    pub(super) fn start(path: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        let (queue, appends) = mpsc::channel(QUEUE);
        thread::Builder::new().name("committer".to_owned()).spawn(move || {
            // Clients see the end of the channel.
            if let Err(error) = commit(file, appends) {
                tracing::error!(%error, "the raw file fails");
            }
        })?;
        Ok(Self { queue })
    }
}

fn commit(mut file: File, mut appends: mpsc::Receiver<Append>) -> Result<()> {
    while let Some(first) = appends.blocking_recv() {
        let mut group = vec![first];
        while let Ok(more) = appends.try_recv() {
            group.push(more);
        }
        let bytes: Vec<u8> = group.iter().flat_map(|(bytes, _)| bytes).copied().collect();
        file.write_all(&bytes)?;
        file.sync_data()?;
        for (_, done) in group {
            // A client that is gone does not care.
            done.send(()).ok();
        }
    }
    Ok(())
}

impl Writer for RawWriter {
    async fn write(&mut self, key: String, value: Vec<u8>) -> Result<()> {
        let (done, is_done) = oneshot::channel();
        let bytes = [key.into_bytes(), value].concat();
        self.queue.send((bytes, done)).await.context("the committer is gone")?;
        is_done.await.context("the committer is gone")
    }
}
