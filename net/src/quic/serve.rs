//! One accepted stream: read the request, check its rule, let the handler answer.

use std::sync::Arc;

use bytes::Bytes;
use quinn::{Connection, SendStream};
use tokio::time::timeout;

use super::admit::Guest;
use super::framed::{FrameReader, FrameWriter};
use super::shared::Shared;
use super::{codes, epochs, expiry, limits};
use crate::frame::{self, FrameError};
use crate::rpc::wire::{RequestHead, Status};
use crate::rpc::{Kind, Lane, Method, Refusal, RefusalCode, admission};
use crate::stream::{MessageReceiver, MessageSender, MessageStream};
use crate::transport::{CallError, Caller, Peer};

/// The other end of a connection as the member list sees it now: no peer is a stranger.
///
/// A removed node is cut off at once, and one whose certificate has expired.
pub(crate) fn current_peer(
    shared: &Shared,
    connection: &Connection,
    guest: Guest,
) -> Result<Option<Peer>, Refusal> {
    let Guest::Node(node_id, certified, expires_at) = guest else { return Ok(None) };
    if shared.clock.0.now() > expires_at {
        connection.close(codes::EXPIRED, expiry::REASON);
        let message = format!("the certificate of node {node_id} has expired");
        return Err(Refusal::new(RefusalCode::NotAllowed, message));
    }
    match admission::admit(&*shared.members, node_id, certified) {
        Ok(role) => Ok(Some(Peer { node_id, role, addr: connection.remote_address() })),
        Err(refusal) => {
            connection.close(codes::REMOVED, &epochs::removal(shared));
            Err(refusal)
        }
    }
}

/// A request that may be handed to the handler.
struct Request {
    method: Method,
    head: RequestHead,
    caller: Caller,
    body: Bytes,
}

pub(crate) async fn serve_stream(
    shared: Arc<Shared>,
    (connection, lane, guest): (Connection, Lane, Guest),
    to: SendStream,
    mut reader: FrameReader,
) {
    let mut writer = FrameWriter::new(to);
    let reading = read(&shared, &connection, lane, guest, &mut reader);
    let request = match timeout(limits::REQUEST_DEADLINE, reading).await {
        Ok(Ok(request)) => request,
        Ok(Err(Some(refusal))) => return answer(&mut writer, Err(refusal)).await,
        Ok(Err(None)) => return,
        Err(_elapsed) => {
            let refusal = Refusal::new(RefusalCode::TimedOut, "the request did not arrive in time");
            return answer(&mut writer, Err(refusal)).await;
        }
    };
    let Request { method, head, caller, body } = request;
    match (method.rule().kind, caller) {
        (Kind::Stream, Caller::Node(peer)) => {
            let admitted = writer.answer(Status::Done, Bytes::new());
            if matches!(timeout(limits::ANSWER_DEADLINE, admitted).await, Ok(Ok(()))) {
                let stream = MessageStream::new(
                    MessageSender::from_quic(writer),
                    MessageReceiver::from_quic(reader),
                );
                shared.handler.stream(peer, method, body, stream).await;
            }
        }
        (Kind::Unary | Kind::Stream, caller) => {
            let deadline = head.deadline.min(limits::LONGEST_CALL);
            let result = timeout(deadline, shared.handler.call(caller, method, body)).await;
            let result = result.unwrap_or_else(|_elapsed| {
                Err(Refusal::new(RefusalCode::TimedOut, format!("{method:?} took too long")))
            });
            answer(&mut writer, result).await;
        }
    }
}

/// Reads a request and checks it; no refusal means that nobody waits for one.
async fn read(
    shared: &Shared,
    connection: &Connection,
    lane: Lane,
    guest: Guest,
    reader: &mut FrameReader,
) -> Result<Request, Option<Refusal>> {
    let head = reader.request().await.map_err(refuse_frame)?;
    let method = Method::from_number(head.method).ok_or_else(|| {
        let message = format!("method {} is unknown to this node", head.method);
        Refusal::new(RefusalCode::UnknownMethod, message)
    })?;
    let peer = current_peer(shared, connection, guest)?;
    let kind = method.rule().kind;
    admission::authorise(method, kind, lane, peer.map(|peer| peer.role))?;
    let limit = method.longest_request();
    if head.length > limit {
        let message = format!("{} bytes are over the limit of {limit} for {method:?}", head.length);
        return Err(Some(Refusal::new(RefusalCode::TooLarge, message)));
    }
    let body = reader.body(head.length).await.map_err(refuse_frame)?;
    if kind == Kind::Unary {
        reader.end().await.map_err(refuse_frame)?;
    }
    let caller = match peer {
        Some(peer) => Caller::Node(peer),
        None => Caller::Anonymous { addr: connection.remote_address() },
    };
    Ok(Request { method, head, caller, body })
}

/// What a caller hears about a frame that is none.
fn refuse_frame(error: CallError) -> Option<Refusal> {
    let message = match &error {
        CallError::Protocol(fault) => fault.to_string(),
        other => other.to_string(),
    };
    let code = match error {
        CallError::Protocol(FrameError::Version { .. }) => RefusalCode::Version,
        CallError::Protocol(_) => RefusalCode::Malformed,
        CallError::TooLarge { .. } => RefusalCode::TooLarge,
        // The caller or the connection is gone.
        _ => return None,
    };
    tracing::debug!(message, "malformed request refused");
    Some(Refusal::new(code, message))
}

async fn answer(writer: &mut FrameWriter, result: Result<Bytes, Refusal>) {
    let (status, body) = match result {
        Ok(body) if body.len() <= frame::MAX_FRAME => (Status::Done, body),
        Ok(body) => {
            let message = format!("the answer of {} bytes is over the limit", body.len());
            (Status::Refused, frame::encode(&Refusal::new(RefusalCode::TooLarge, message)))
        }
        Err(refusal) => (Status::Refused, frame::encode(&refusal)),
    };
    match timeout(limits::ANSWER_DEADLINE, writer.answer(status, body)).await {
        Ok(Ok(())) => writer.finish(),
        Ok(Err(error)) => tracing::trace!(%error, "the caller did not wait for its answer"),
        Err(_elapsed) => tracing::debug!("the caller does not take its answer"),
    }
}
