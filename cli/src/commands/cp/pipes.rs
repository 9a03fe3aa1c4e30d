//! An archive between tasks that carry it and threads that read or write it.

use std::io::{self, Read, Write};

use bytes::{Buf as _, Bytes};
use swarm_node::chunk::{Chunk, ChunkWriter, DATA_MAX};
use tokio::io::{AsyncReadExt as _, AsyncWrite};
use tokio::sync::mpsc;

/// Carries this command's input, to its end.
///
/// # Errors
/// When it cannot be read, or the other end hung up.
pub(super) async fn from_stdin<W: AsyncWrite + Unpin>(
    writer: &mut ChunkWriter<W>,
) -> io::Result<()> {
    let mut stdin = tokio::io::stdin();
    let mut part = vec![0; DATA_MAX];
    loop {
        let count = stdin.read(&mut part).await?;
        if count == 0 {
            return writer.send(&Chunk::InputEnd).await;
        }
        writer.send(&Chunk::Input(Bytes::copy_from_slice(&part[..count]))).await?;
    }
}

/// An archive that comes, for a thread that reads it.
#[derive(Debug)]
pub(super) struct Arriving {
    parts: mpsc::Receiver<Bytes>,
    part: Bytes,
}

impl From<mpsc::Receiver<Bytes>> for Arriving {
    fn from(parts: mpsc::Receiver<Bytes>) -> Self {
        Self { parts, part: Bytes::new() }
    }
}

impl Read for Arriving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() {
            match self.parts.blocking_recv() {
                Some(part) => self.part = part,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.part.len());
        self.part.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

/// An archive that goes, from a thread that writes it.
#[derive(Debug)]
pub(super) struct Leaving(mpsc::Sender<Bytes>);

impl From<mpsc::Sender<Bytes>> for Leaving {
    fn from(parts: mpsc::Sender<Bytes>) -> Self {
        Self(parts)
    }
}

impl Write for Leaving {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = buffer.len().min(DATA_MAX);
        let part = Bytes::copy_from_slice(&buffer[..count]);
        let gone = |_closed| io::Error::from(io::ErrorKind::BrokenPipe);
        self.0.blocking_send(part).map_err(gone)?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
