//! A stream of messages between two nodes, over QUIC or over channels inside one process.
//!
//! Messages keep their bounds and order. What they mean, and back-pressure above one stream, is not here.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use crate::frame::{FrameError, MAX_FRAME};
use crate::quic::{FrameReader, FrameWriter};
use crate::transport::CallError;

/// How often an in-process stream is looked at for its end.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What travels in the channels of an in-process stream: a message, or how the stream broke.
pub type Carried = Result<Bytes, CallError>;

/// Both directions of one stream. Dropping it finishes the own direction and stops the other.
#[derive(Debug)]
pub struct MessageStream {
    sender: MessageSender,
    receiver: MessageReceiver,
}

/// The sending direction. Dropping it finishes it.
pub struct MessageSender(Sending);

/// The receiving direction. Dropping it tells the peer to stop sending.
pub struct MessageReceiver(Receiving);

enum Sending {
    Quic(FrameWriter),
    Channel(Option<mpsc::Sender<Carried>>),
}

enum Receiving {
    Quic(FrameReader),
    Channel(mpsc::Receiver<Carried>),
}

impl MessageStream {
    /// Puts two directions together.
    pub fn new(sender: MessageSender, receiver: MessageReceiver) -> Self {
        Self { sender, receiver }
    }

    /// Two connected in-process streams, each holding at most `capacity` unread messages.
    pub fn pair(capacity: usize) -> (Self, Self) {
        let (left, from_left) = mpsc::channel(capacity);
        let (right, from_right) = mpsc::channel(capacity);
        let end = |to, from| {
            Self::new(MessageSender::from_channel(to), MessageReceiver::from_channel(from))
        };
        (end(left, from_right), end(right, from_left))
    }

    /// Sends one message; waits while the peer does not read. See [`MessageSender::send`].
    ///
    /// # Errors
    /// When it is too large, or the stream or connection is closed.
    pub async fn send(&mut self, message: Bytes) -> Result<(), CallError> {
        self.sender.send(message).await
    }

    /// The next message; `None` after the peer has finished. See [`MessageReceiver::recv`].
    ///
    /// # Errors
    /// When the stream or connection broke, or the peer broke the protocol.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, CallError> {
        self.receiver.recv().await
    }

    /// Says that no more messages follow; what was sent still arrives.
    pub fn finish(&mut self) {
        self.sender.finish();
    }

    /// The two directions, to be used from two tasks.
    pub fn split(self) -> (MessageSender, MessageReceiver) {
        (self.sender, self.receiver)
    }
}

impl MessageSender {
    pub(crate) fn from_quic(writer: FrameWriter) -> Self {
        Self(Sending::Quic(writer))
    }

    /// A sender that puts its messages into `channel`; an in-process transport reads them there.
    pub fn from_channel(channel: mpsc::Sender<Carried>) -> Self {
        Self(Sending::Channel(Some(channel)))
    }

    /// Sends one message; waits while the peer does not read.
    ///
    /// # Errors
    /// When it is too large (nothing was sent), or the stream or connection is closed.
    ///
    /// # Cancel safety
    /// Not cancel-safe: a dropped send may leave half a message, and breaks the stream then.
    pub async fn send(&mut self, message: Bytes) -> Result<(), CallError> {
        match &mut self.0 {
            Sending::Quic(writer) => writer.message(message).await,
            Sending::Channel(channel) => {
                if message.len() > MAX_FRAME {
                    return Err(FrameError::TooLarge { size: message.len() }.into());
                }
                let open = channel.as_ref().ok_or(CallError::Closed)?;
                open.send(Ok(message)).await.map_err(|_receiver_gone| CallError::Closed)
            }
        }
    }

    /// Waits until nobody reads any more: the peer has dropped its receiver, or is gone. Unlike a failing
    /// [`MessageSender::send`] it tells so to one who has nothing to send, or who waits for room.
    pub fn closed(&self) -> BoxFuture<'static, ()> {
        match &self.0 {
            Sending::Quic(writer) => writer.stopped(),
            Sending::Channel(Some(channel)) => {
                let channel = channel.downgrade();
                async move {
                    // Held only for a look: the receiver must still see when the sender is dropped.
                    while channel.upgrade().is_some_and(|channel| !channel.is_closed()) {
                        tokio::time::sleep(LOOK_AGAIN).await;
                    }
                }
                .boxed()
            }
            Sending::Channel(None) => std::future::ready(()).boxed(),
        }
    }

    /// Says that no more messages follow; what was sent still arrives.
    pub fn finish(&mut self) {
        match &mut self.0 {
            Sending::Quic(writer) => writer.finish(),
            Sending::Channel(channel) => drop(channel.take()),
        }
    }
}

impl MessageReceiver {
    pub(crate) fn from_quic(reader: FrameReader) -> Self {
        Self(Receiving::Quic(reader))
    }

    /// A receiver of what an in-process transport puts into `channel`: an error breaks the
    /// stream, a closed channel finishes it.
    pub fn from_channel(channel: mpsc::Receiver<Carried>) -> Self {
        Self(Receiving::Channel(channel))
    }

    /// The next message; `None` after the peer has finished.
    ///
    /// The bytes may share a packet's memory: copy a small message that is kept for long.
    ///
    /// # Errors
    /// When the stream or connection broke, or the peer broke the protocol.
    ///
    /// # Cancel safety
    /// Cancel-safe: nothing is lost when the future is dropped.
    pub async fn recv(&mut self) -> Result<Option<Bytes>, CallError> {
        match &mut self.0 {
            Receiving::Quic(reader) => reader.message().await,
            Receiving::Channel(channel) => channel.recv().await.transpose(),
        }
    }
}

impl fmt::Debug for MessageSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Sending::Quic(_) => "MessageSender(quic)",
            Sending::Channel(_) => "MessageSender(channel)",
        })
    }
}

impl fmt::Debug for MessageReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Receiving::Quic(_) => "MessageReceiver(quic)",
            Receiving::Channel(_) => "MessageReceiver(channel)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn in_process_messages_arrive_in_order_until_finished() {
        let (mut left, mut right) = MessageStream::pair(4);
        left.send(Bytes::from_static(b"one")).await.expect("open");
        left.send(Bytes::new()).await.expect("open");
        left.finish();
        assert_eq!(right.recv().await, Ok(Some(Bytes::from_static(b"one"))));
        assert_eq!(right.recv().await, Ok(Some(Bytes::new())));
        assert_eq!(right.recv().await, Ok(None));
        assert_eq!(left.send(Bytes::new()).await, Err(CallError::Closed));
    }

    #[tokio::test]
    async fn sending_to_a_dropped_stream_fails() {
        let (mut left, right) = MessageStream::pair(4);
        drop(right);
        assert_eq!(left.send(Bytes::new()).await, Err(CallError::Closed));
    }

    #[tokio::test]
    async fn a_sender_hears_that_nobody_reads_though_it_sends_nothing() {
        let (left, mut right) = MessageStream::pair(1);
        let (mut sender, _receiver) = left.split();
        sender.send(Bytes::from_static(b"one")).await.expect("open");
        let closed = sender.closed();
        assert!(sender.closed().now_or_never().is_none(), "it is read");
        assert_eq!(right.recv().await, Ok(Some(Bytes::from_static(b"one"))));
        drop(right);
        closed.await;
        sender.finish();
        sender.closed().await;
    }

    #[tokio::test]
    async fn a_message_over_the_limit_is_refused_and_the_stream_lives() {
        let (mut left, mut right) = MessageStream::pair(4);
        let large = Bytes::from(vec![0; MAX_FRAME + 1]);
        assert!(matches!(left.send(large).await, Err(CallError::TooLarge { .. })));
        left.send(Bytes::from_static(b"small")).await.expect("open");
        assert_eq!(right.recv().await, Ok(Some(Bytes::from_static(b"small"))));
    }
}
