//! Chunks: what travels between a person and a program in a task, with the program's bytes in it.
//!
//! On byte streams (the API after its upgrade, the pipes of a keeper): kind (u8), length (u32, big
//! endian), body. In the mesh, whose messages have bounds of their own: kind, body. What a chunk leads
//! to is not decided here.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use utoipa::ToSchema;

/// Bytes of data that senders put into one chunk at most.
pub const DATA_MAX: usize = 32 << 10;
/// The longest body that is read: room for a record of what to start.
const BODY_MAX: usize = 1 << 20;
/// Kind and length.
const HEAD: usize = 5;

/// One chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chunk {
    /// For the program's input.
    Input(Bytes),
    /// No more input follows.
    InputEnd,
    /// The person's terminal has another size.
    Resize(Size),
    /// The person is still there.
    Ping,
    /// From the program's output.
    Output(Bytes),
    /// From its error output.
    Errors(Bytes),
    /// No more output follows, but input is still read.
    OutputEnd,
    /// It is over; nothing follows.
    Ended(Ended),
    /// What to start: between a daemon and its keeper only.
    Start(Bytes),
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters a line.
    pub columns: u16,
}

impl Default for Size {
    fn default() -> Self {
        Self { rows: 24, columns: 80 }
    }
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Ended {
    /// The exit code, 128 and the number of the signal that ended it, or why it did not start: 127 for a
    /// program that is not there, 126 for one that cannot be run.
    pub code: u8,
    /// What a person should know; empty when the program speaks for itself.
    #[serde(default)]
    pub message: String,
}

/// Why bytes are no chunk.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// The stream broke.
    #[error("the stream broke")]
    Io(#[from] io::Error),
    /// It ended in the middle of a chunk.
    #[error("the stream ended in the middle of a chunk")]
    Cut,
    /// Longer than any chunk may be.
    #[error("a chunk of {length} bytes is over the limit of {BODY_MAX} bytes")]
    TooLong {
        /// The length that was claimed.
        length: usize,
    },
    /// Not a chunk of this version.
    #[error("a chunk of kind {kind} with {length} bytes is not understood")]
    Unknown {
        /// Its kind.
        kind: u8,
        /// Bytes of its body.
        length: usize,
    },
}

impl Chunk {
    /// The number of its kind on the wire: never use one again for something else.
    fn kind(&self) -> u8 {
        match self {
            Self::Input(_) => 0,
            Self::InputEnd => 1,
            Self::Resize(_) => 2,
            Self::Ping => 3,
            Self::Output(_) => 16,
            Self::Errors(_) => 17,
            Self::OutputEnd => 18,
            Self::Ended(_) => 19,
            Self::Start(_) => 32,
        }
    }

    fn body(&self) -> Bytes {
        match self {
            Self::Input(data) | Self::Output(data) | Self::Errors(data) | Self::Start(data) => {
                data.clone()
            }
            Self::InputEnd | Self::Ping | Self::OutputEnd => Bytes::new(),
            Self::Resize(Size { rows, columns }) => {
                let mut body = BytesMut::with_capacity(4);
                body.put_u16(*rows);
                body.put_u16(*columns);
                body.freeze()
            }
            Self::Ended(ended) => serde_json::to_vec(ended).unwrap_or_default().into(),
        }
    }

    fn new(kind: u8, mut body: Bytes) -> Result<Self, ChunkError> {
        let length = body.len();
        let unknown = || ChunkError::Unknown { kind, length };
        Ok(match (kind, length) {
            (0, _) => Self::Input(body),
            (1, 0) => Self::InputEnd,
            (2, 4) => Self::Resize(Size { rows: body.get_u16(), columns: body.get_u16() }),
            (3, 0) => Self::Ping,
            (16, _) => Self::Output(body),
            (17, _) => Self::Errors(body),
            (18, 0) => Self::OutputEnd,
            (19, _) => Self::Ended(serde_json::from_slice(&body).map_err(|_error| unknown())?),
            (32, _) => Self::Start(body),
            _ => return Err(unknown()),
        })
    }

    /// Appends it to a byte stream.
    pub fn put(&self, stream: &mut BytesMut) {
        let body = self.body();
        stream.reserve(HEAD + body.len());
        stream.put_u8(self.kind());
        // Senders keep to DATA_MAX, and nothing else is near the limit.
        stream.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
        stream.put_slice(&body);
    }

    /// Takes the first one of a byte stream; `None` while it is not whole.
    ///
    /// # Errors
    /// When it is none; the stream is of no use then.
    pub fn take(stream: &mut BytesMut) -> Result<Option<Self>, ChunkError> {
        let Some((head, _)) = stream.split_first_chunk::<HEAD>() else { return Ok(None) };
        let [kind, length @ ..] = *head;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > BODY_MAX {
            return Err(ChunkError::TooLong { length });
        }
        if stream.len() < HEAD + length {
            return Ok(None);
        }
        stream.advance(HEAD);
        Self::new(kind, stream.split_to(length).freeze()).map(Some)
    }

    /// As a message of the mesh.
    pub fn to_message(&self) -> Bytes {
        let body = self.body();
        let mut message = BytesMut::with_capacity(1 + body.len());
        message.put_u8(self.kind());
        message.put_slice(&body);
        message.freeze()
    }

    /// Reads a message of the mesh.
    ///
    /// # Errors
    /// When it is no chunk.
    pub fn of_message(mut message: Bytes) -> Result<Self, ChunkError> {
        if message.is_empty() {
            return Err(ChunkError::Cut);
        }
        let kind = message.get_u8();
        Self::new(kind, message)
    }
}

/// Reads chunks from a byte stream.
#[derive(Debug)]
pub struct ChunkReader<R> {
    io: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> ChunkReader<R> {
    /// Reads from `io`, of which `before` was read already.
    pub fn new(io: R, before: &[u8]) -> Self {
        Self { io, buffer: BytesMut::from(before) }
    }

    /// What is read from.
    pub fn get_ref(&self) -> &R {
        &self.io
    }

    /// The next chunk; `None` at the end.
    ///
    /// # Errors
    /// When the stream breaks or is none of chunks.
    ///
    /// # Cancel safety
    /// Safe: what was read stays in the buffer.
    pub async fn next(&mut self) -> Result<Option<Chunk>, ChunkError> {
        loop {
            if let Some(chunk) = Chunk::take(&mut self.buffer)? {
                return Ok(Some(chunk));
            }
            self.buffer.reserve(DATA_MAX);
            if self.io.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(ChunkError::Cut) };
            }
        }
    }
}

/// Writes chunks to a byte stream.
#[derive(Debug)]
pub struct ChunkWriter<W> {
    io: W,
    buffer: BytesMut,
}

impl<W: AsyncWrite + Unpin> ChunkWriter<W> {
    /// Writes to `io`.
    pub fn new(io: W) -> Self {
        Self { io, buffer: BytesMut::new() }
    }

    /// Writes one chunk; waits while nobody reads.
    ///
    /// # Errors
    /// When the stream is broken.
    ///
    /// # Cancel safety
    /// Not safe: a dropped send may leave half a chunk.
    pub async fn send(&mut self, chunk: &Chunk) -> io::Result<()> {
        self.buffer.clear();
        chunk.put(&mut self.buffer);
        self.io.write_all(&self.buffer).await?;
        self.io.flush().await
    }

    /// Says that nothing follows.
    ///
    /// # Errors
    /// When the stream is broken.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.io.shutdown().await
    }
}

/// The decoder, for the fuzz driver.
pub(crate) mod fuzz {
    use swarm_model::fuzz::Target;

    use super::*;

    /// All kinds.
    fn samples() -> Vec<Chunk> {
        let data = Bytes::from_static(b"hello");
        vec![
            Chunk::Input(data.clone()),
            Chunk::InputEnd,
            Chunk::Resize(Size { rows: 3, columns: 4 }),
            Chunk::Ping,
            Chunk::Output(data.clone()),
            Chunk::Errors(data.clone()),
            Chunk::OutputEnd,
            Chunk::Ended(Ended { code: 130, message: "gone".to_owned() }),
            Chunk::Start(data),
        ]
    }

    /// Chunks of a byte stream: what was read and written again is read as the same.
    pub(crate) const STREAM: Target = Target::new("node.chunks", stream, || {
        let mut all = BytesMut::new();
        for chunk in samples() {
            chunk.put(&mut all);
        }
        vec![all.to_vec()]
    });
    /// A chunk as a message of the mesh.
    pub(crate) const MESSAGE: Target = Target::new(
        "node.chunk-message",
        |bytes| match Chunk::of_message(Bytes::copy_from_slice(bytes)) {
            Ok(chunk) => same(&chunk, Chunk::of_message(chunk.to_message()).ok()),
            Err(_malformed) => false,
        },
        || samples().iter().map(|chunk| chunk.to_message().to_vec()).collect(),
    );

    fn same(chunk: &Chunk, again: Option<Chunk>) -> bool {
        assert_eq!(Some(chunk), again.as_ref(), "the form of a chunk is not stable");
        true
    }

    fn stream(bytes: &[u8]) -> bool {
        let mut stream = BytesMut::from(bytes);
        let mut read = false;
        while let Ok(Some(chunk)) = Chunk::take(&mut stream) {
            let mut written = BytesMut::new();
            chunk.put(&mut written);
            read = same(&chunk, Chunk::take(&mut written).ok().flatten());
        }
        read
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[tokio::test]
        async fn chunks_come_out_as_they_went_in_however_the_bytes_are_cut() {
            let mut all = BytesMut::new();
            for chunk in samples() {
                chunk.put(&mut all);
            }
            for cut in 1..all.len() {
                let (head, tail) = all.split_at(cut);
                let mut reader = ChunkReader::new(tail, head);
                for chunk in samples() {
                    assert_eq!(reader.next().await.expect("whole"), Some(chunk));
                }
                assert!(matches!(reader.next().await, Ok(None)));
                let mut reader = ChunkReader::new(head, &[]);
                let end = loop {
                    match reader.next().await {
                        Ok(Some(_)) => {}
                        end => break end,
                    }
                };
                assert!(matches!(end, Ok(None) | Err(ChunkError::Cut)), "{cut}: {end:?}");
            }
        }

        #[test]
        fn the_form_is_pinned() {
            let mut stream = BytesMut::new();
            Chunk::Resize(Size { rows: 0x102, columns: 3 }).put(&mut stream);
            Chunk::Output(Bytes::from_static(b"a")).put(&mut stream);
            assert_eq!(stream[..], [2, 0, 0, 0, 4, 1, 2, 0, 3, 16, 0, 0, 0, 1, b'a']);
            let ended = Chunk::Ended(Ended { code: 3, message: String::new() });
            assert_eq!(ended.to_message()[..], *b"\x13{\"Code\":3,\"Message\":\"\"}");
        }

        #[test]
        fn what_is_no_chunk_is_named() {
            let read = |bytes: &[u8]| Chunk::take(&mut BytesMut::from(bytes));
            assert!(matches!(read(&[0, 0, 0x11, 0, 0]), Err(ChunkError::TooLong { .. })));
            assert!(matches!(read(&[9, 0, 0, 0, 0]), Err(ChunkError::Unknown { kind: 9, .. })));
            assert!(matches!(read(&[2, 0, 0, 0, 1, 7]), Err(ChunkError::Unknown { .. })));
            assert!(matches!(read(&[19, 0, 0, 0, 1, 7]), Err(ChunkError::Unknown { .. })));
            assert!(Chunk::of_message(Bytes::new()).is_err());
        }
    }
}
