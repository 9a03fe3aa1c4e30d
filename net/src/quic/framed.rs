//! Whole frames on a QUIC stream: small ones in one write, large ones without a copy on the way out.
//!
//! Knows lengths, not meanings. A frame's length is checked before its bytes are waited for, and
//! memory grows with what has arrived, not with what was announced.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use quinn::{ReadError, RecvStream, SendStream, VarInt, WriteError};
use tokio::time::{Instant, timeout_at};

use super::budget::{Budget, Share};
use super::{codes, limits};
use crate::frame::FrameError;
use crate::rpc::wire::{self, ANSWER_HEAD, MESSAGE_HEAD, REQUEST_HEAD, RequestHead, Status};
use crate::transport::CallError;

/// Up to this size a copy is cheaper than one more segment.
const COPY_LIMIT: usize = 1024;
/// Chunks (mostly one packet each) taken from the connection under one lock.
const CHUNKS: usize = 16;

/// The writing half.
pub(crate) struct FrameWriter {
    stream: SendStream,
    /// In the middle of a frame: a cancelled write left the stream useless.
    torn: bool,
}

/// The reading half.
pub(crate) struct FrameReader {
    stream: RecvStream,
    chunks: VecDeque<Bytes>,
    buffered: usize,
    /// What the sender may have under way; `None` where we asked for what comes.
    budget: Option<Budget>,
    /// The share of the frame being read, or of the last one that was given out.
    share: Option<Share>,
    /// When the message that is being read must be there; its share is taken.
    due: Option<Instant>,
}

impl FrameWriter {
    pub(crate) fn new(stream: SendStream) -> Self {
        Self { stream, torn: false }
    }

    /// Writes a request's head and body.
    pub(crate) async fn request(
        &mut self,
        head: RequestHead,
        body: Bytes,
    ) -> Result<(), CallError> {
        let head = head.encode()?;
        self.frame(&head, body).await
    }

    /// Writes an answer's head and body.
    pub(crate) async fn answer(&mut self, status: Status, body: Bytes) -> Result<(), CallError> {
        let head = wire::encode_answer(status, body.len())?;
        self.frame(&head, body).await
    }

    /// Writes one message of a stream.
    pub(crate) async fn message(&mut self, body: Bytes) -> Result<(), CallError> {
        let head = wire::encode_message(body.len())?;
        self.frame(&head, body).await
    }

    async fn frame(&mut self, head: &[u8], body: Bytes) -> Result<(), CallError> {
        if self.torn {
            return Err(CallError::Closed);
        }
        self.torn = true;
        if body.len() <= COPY_LIMIT {
            let mut both = BytesMut::with_capacity(head.len() + body.len());
            both.put_slice(head);
            both.put_slice(&body);
            self.stream.write_chunk(both.freeze()).await.map_err(write_fault)?;
        } else {
            let mut both = [Bytes::copy_from_slice(head), body];
            self.stream.write_all_chunks(&mut both).await.map_err(write_fault)?;
        }
        self.torn = false;
        Ok(())
    }

    /// Done once the peer does not read any more, for whatever reason.
    pub(crate) fn stopped(&self) -> BoxFuture<'static, ()> {
        let stopped = self.stream.stopped();
        async move { drop(stopped.await) }.boxed()
    }

    /// Ends the stream after what was written.
    pub(crate) fn finish(&mut self) {
        if !self.torn {
            drop(self.stream.finish());
        }
    }
}

impl Drop for FrameWriter {
    fn drop(&mut self) {
        if self.torn {
            drop(self.stream.reset(codes::CANCELLED));
        }
    }
}

impl FrameReader {
    pub(crate) fn new(stream: RecvStream) -> Self {
        let (budget, share) = (None, None);
        Self { stream, chunks: VecDeque::new(), buffered: 0, budget, share, due: None }
    }

    /// A reader of what others send unasked. A frame counts until the next one is read, or the reader dropped.
    pub(crate) fn within(stream: RecvStream, budget: Budget) -> Self {
        Self { budget: Some(budget), ..Self::new(stream) }
    }

    async fn admit(&mut self, length: usize) {
        // The frame before was dealt with: its share may be what this one waits for.
        self.share = None;
        if let Some(budget) = &self.budget {
            self.share = budget.take(length).await;
        }
    }

    /// Reads a request's head; the body follows with [`FrameReader::body`].
    pub(crate) async fn request(&mut self) -> Result<RequestHead, CallError> {
        let head = self.head::<REQUEST_HEAD>().await?.ok_or_else(|| cut_short(0))?;
        Ok(RequestHead::decode(head)?)
    }

    /// Reads a whole answer.
    pub(crate) async fn answer(&mut self) -> Result<(Status, Bytes), CallError> {
        let head = self.head::<ANSWER_HEAD>().await?.ok_or(CallError::Closed)?;
        let (status, length) = wire::decode_answer(head)?;
        Ok((status, self.body(length).await?))
    }

    /// Reads one message of a stream; `None` at the stream's end. Cancel-safe.
    pub(crate) async fn message(&mut self) -> Result<Option<Bytes>, CallError> {
        // The head stays buffered until the whole message is there, so that a dropped future loses nothing.
        if self.due.is_none() {
            self.share = None;
        }
        if !self.buffer(MESSAGE_HEAD).await? {
            return match self.buffered {
                0 => Ok(None),
                rest => Err(cut_short(rest)),
            };
        }
        let length = wire::decode_message(self.peek())?;
        let due = match self.due {
            Some(due) => due,
            None => {
                self.admit(length).await;
                *self.due.insert(Instant::now() + limits::message_deadline(length))
            }
        };
        match timeout_at(due, self.buffer(MESSAGE_HEAD + length)).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return Err(cut_short(self.buffered)),
            Ok(Err(error)) => return Err(error),
            Err(_elapsed) => return Err(too_slow(self.buffered)),
        }
        self.due = None;
        drop(self.take(MESSAGE_HEAD));
        Ok(Some(self.take(length)))
    }

    /// Reads exactly `length` bytes, a length that was checked.
    pub(crate) async fn body(&mut self, length: usize) -> Result<Bytes, CallError> {
        self.admit(length).await;
        if self.buffer(length).await? {
            Ok(self.take(length))
        } else {
            Err(cut_short(self.buffered))
        }
    }

    /// Waits for the end of the stream.
    ///
    /// Without it dropping the stream would cost a frame that asks the peer to stop.
    pub(crate) async fn end(&mut self) -> Result<(), CallError> {
        if self.buffer(1).await? {
            return Err(CallError::Protocol(FrameError::Trailing { surplus: self.buffered }));
        }
        Ok(())
    }

    async fn head<const N: usize>(&mut self) -> Result<Option<[u8; N]>, CallError> {
        if self.buffer(N).await? {
            let head = self.peek();
            drop(self.take(N));
            return Ok(Some(head));
        }
        if self.buffered == 0 { Ok(None) } else { Err(cut_short(self.buffered)) }
    }

    /// Reads until `wanted` bytes are buffered; false when the stream ends before.
    async fn buffer(&mut self, wanted: usize) -> Result<bool, CallError> {
        while self.buffered < wanted {
            let mut fresh: [Bytes; CHUNKS] = Default::default();
            match self.stream.read_chunks(&mut fresh).await.map_err(read_fault)? {
                None => return Ok(false),
                Some(count) => {
                    for chunk in fresh.into_iter().take(count) {
                        self.buffered += chunk.len();
                        self.chunks.push_back(chunk);
                    }
                }
            }
        }
        Ok(true)
    }

    /// The first `N` buffered bytes, which stay.
    fn peek<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        let buffered = self.chunks.iter().flat_map(|chunk| chunk.iter());
        for (to, from) in bytes.iter_mut().zip(buffered) {
            *to = *from;
        }
        bytes
    }

    /// Removes `length` buffered bytes: without a copy when they lie in one chunk.
    fn take(&mut self, length: usize) -> Bytes {
        self.buffered -= length;
        match self.chunks.front_mut() {
            Some(first) if first.len() > length => return first.split_to(length),
            Some(first) if first.len() == length => {
                return self.chunks.pop_front().unwrap_or_default();
            }
            Some(_) | None => {}
        }
        let mut whole = BytesMut::with_capacity(length);
        while whole.len() < length {
            let Some(mut chunk) = self.chunks.pop_front() else { break };
            let part = chunk.len().min(length - whole.len());
            whole.put_slice(&chunk[..part]);
            chunk.advance(part);
            if !chunk.is_empty() {
                self.chunks.push_front(chunk);
            }
        }
        whole.freeze()
    }
}

fn cut_short(bytes: usize) -> CallError {
    let reason = format!("the stream ended inside a frame, after {bytes} of its bytes");
    CallError::Protocol(FrameError::Malformed { reason })
}

fn too_slow(bytes: usize) -> CallError {
    let reason = format!("a message came too slowly: {bytes} of its bytes in time");
    CallError::Protocol(FrameError::Malformed { reason })
}

fn write_fault(error: WriteError) -> CallError {
    match error {
        WriteError::Stopped(code) => stopped(code),
        WriteError::ConnectionLost(error) => codes::connection_fault(&error),
        WriteError::ClosedStream | WriteError::ZeroRttRejected => CallError::Closed,
    }
}

fn read_fault(error: ReadError) -> CallError {
    match error {
        ReadError::Reset(code) => stopped(code),
        ReadError::ConnectionLost(error) => codes::connection_fault(&error),
        ReadError::ClosedStream | ReadError::IllegalOrderedRead | ReadError::ZeroRttRejected => {
            CallError::Closed
        }
    }
}

fn stopped(code: VarInt) -> CallError {
    tracing::trace!(code = code.into_inner(), "peer gave up on a stream");
    CallError::Closed
}
