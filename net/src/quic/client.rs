//! Calling: a stream per call on the peer's connection, within the caller's deadline.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, ConnectionError};
use swarm_model::id::NodeId;
use tokio::time::{Instant, timeout_at};

use super::framed::{FrameReader, FrameWriter};
use super::link::Link;
use super::shared::Shared;
use crate::frame;
use crate::rpc::wire::{RequestHead, Status};
use crate::rpc::{Kind, Method, Refusal, RefusalCode};
use crate::stream::{MessageReceiver, MessageSender, MessageStream};
use crate::transport::CallError;

/// A call on its way.
pub(crate) struct Call {
    pub(crate) to: NodeId,
    pub(crate) method: Method,
    pub(crate) body: Bytes,
    pub(crate) deadline: Instant,
}

impl Call {
    pub(crate) fn new(to: NodeId, method: Method, body: Bytes, deadline: Duration) -> Self {
        Self { to, method, body, deadline: Instant::now() + deadline }
    }

    /// Sends a unary call and waits for its answer.
    pub(crate) async fn unary(self, shared: Arc<Shared>) -> Result<Bytes, CallError> {
        self.check(Kind::Unary)?;
        let (answer, _stream) = self.exchange(&shared).await?;
        Ok(answer)
    }

    /// Makes sure that there is a connection.
    pub(crate) async fn connect(self, shared: Arc<Shared>) -> Result<(), CallError> {
        let link = shared.pool.link(self.to, self.method.rule().lane);
        self.connection(&link, &shared).await.map(drop)
    }

    /// Opens a stream and waits until it is admitted.
    pub(crate) async fn stream(self, shared: Arc<Shared>) -> Result<MessageStream, CallError> {
        self.check(Kind::Stream)?;
        let (_empty, (writer, reader)) = self.exchange(&shared).await?;
        let (sender, receiver) =
            (MessageSender::from_quic(writer), MessageReceiver::from_quic(reader));
        Ok(MessageStream::new(sender, receiver))
    }

    /// What can be refused here need not travel.
    fn check(&self, kind: Kind) -> Result<(), CallError> {
        if self.method.rule().kind != kind {
            let message = format!("{:?} is no {kind:?} call", self.method);
            return Err(Refusal::new(RefusalCode::UnknownMethod, message).into());
        }
        let (size, limit) = (self.body.len(), self.method.longest_request());
        if size > limit {
            return Err(CallError::TooLarge { size, limit });
        }
        Ok(())
    }

    async fn exchange(
        &self,
        shared: &Arc<Shared>,
    ) -> Result<(Bytes, (FrameWriter, FrameReader)), CallError> {
        let link = shared.pool.link(self.to, self.method.rule().lane);
        let mut again = true;
        loop {
            let connection = self.connection(&link, shared).await?;
            let attempt = attempt(&connection, self.method, self.body.clone(), self.deadline);
            let result = match timeout_at(self.deadline, attempt).await {
                Ok(result) => result,
                Err(_elapsed) => return Err(CallError::DeadlineExceeded),
            };
            match result {
                Err(Fault::NotSent) if again => {}
                // A restarted peer knows nothing of the connection: it did not answer, nor will it.
                Err(Fault::Call(CallError::Closed)) if again && was_reset(&connection) => {}
                Err(Fault::NotSent) => return Err(CallError::Closed),
                Err(Fault::Call(error)) => return Err(error),
                Ok(answered) => return Ok(answered),
            }
            link.lost(&connection);
            again = false;
        }
    }

    async fn connection(
        &self,
        link: &Arc<Link>,
        shared: &Arc<Shared>,
    ) -> Result<Connection, CallError> {
        if let Some(connection) = link.live() {
            return Ok(connection);
        }
        timeout_at(self.deadline, link.connection(shared)).await.unwrap_or_else(|_elapsed| {
            let reason = "no connection before the deadline".to_owned();
            Err(CallError::Unreachable { node: self.to, reason })
        })
    }
}

/// How one attempt failed.
pub(crate) enum Fault {
    /// The connection was lost before the request was on it.
    NotSent,
    /// Later.
    Call(CallError),
}

impl From<CallError> for Fault {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

fn was_reset(connection: &Connection) -> bool {
    matches!(connection.close_reason(), Some(ConnectionError::Reset))
}

/// Sends one request on a stream of its own and reads the answer.
pub(crate) async fn attempt(
    connection: &Connection,
    method: Method,
    body: Bytes,
    deadline: Instant,
) -> Result<(Bytes, (FrameWriter, FrameReader)), Fault> {
    let (to, from) = connection.open_bi().await.map_err(|_lost| Fault::NotSent)?;
    let (mut writer, mut reader) = (FrameWriter::new(to), FrameReader::new(from));
    let head = RequestHead {
        method: method.number(),
        deadline: deadline.saturating_duration_since(Instant::now()),
        length: body.len(),
    };
    writer.request(head, body).await?;
    let unary = method.rule().kind == Kind::Unary;
    if unary {
        writer.finish();
    }
    let (status, answer) = reader.answer().await?;
    match status {
        Status::Refused => {
            let refusal: Refusal = frame::decode(&answer).map_err(CallError::Protocol)?;
            Err(CallError::Refused(refusal).into())
        }
        Status::Done => {
            if unary {
                reader.end().await?;
            }
            Ok((answer, (writer, reader)))
        }
    }
}
