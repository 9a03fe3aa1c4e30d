//! A conversation with a task over an upgraded connection: chunks from the client go to the task's node,
//! chunks from there to the client, until either is gone.
//!
//! What the chunks say is not looked at here. HTTP ends with the answer 101.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use axum::body::Body;
use axum::extract::{FromRequest as _, Request};
use axum::response::Response;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::interval;

use swarm_model::id::TaskId;
use swarm_model::task::Task;
use swarm_model::task_state::ObservedState;
use swarm_model::view::View;
use swarm_net::transport::{MessageReceiver, MessageSender, MessageStream};

use super::backend::{Reach, ReachError};
use super::consistency::Read;
use super::errors::ApiError;
use super::request::Json;
use super::state::Api;
use super::{resolve, tasks};
use crate::chunk::{Chunk, ChunkReader, ChunkWriter, Ended};
use crate::reach::PING;

/// What the connection is upgraded to.
pub const PROTOCOL: &str = "swarm-chunks";

/// A client that waits for its connection to be upgraded.
#[derive(Debug)]
pub(super) struct Client {
    upgrade: OnUpgrade,
    slot: OwnedSemaphorePermit,
}

impl Client {
    /// Takes the upgrade and what is asked for out of a request.
    pub(super) async fn asking<T: DeserializeOwned>(
        request: Request,
        api: &Api,
    ) -> Result<(Self, T), ApiError> {
        let (mut parts, body) = request.into_parts();
        let client = Self::of(&mut parts, api)?;
        let Json(asked) = Json::from_request(Request::from_parts(parts, body), api).await?;
        Ok((client, asked))
    }

    /// Takes the upgrade out of a request.
    pub(super) fn of(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let asked = parts.headers.get(header::UPGRADE);
        let asked = asked.is_some_and(|protocol| protocol.as_bytes() == PROTOCOL.as_bytes());
        let upgrade = parts.extensions.remove::<OnUpgrade>().filter(|_upgrade| asked);
        let upgrade = upgrade.ok_or_else(|| {
            let needs = format!("Connection: Upgrade and Upgrade: {PROTOCOL}");
            ApiError::invalid(format!("the request needs the headers {needs}"))
        })?;
        let slot = Arc::clone(&api.sessions).try_acquire_owned().map_err(|_full| {
            ApiError::unavailable(
                "this node carries too many conversations: end some, or ask another",
            )
        })?;
        Ok(Self { upgrade, slot })
    }

    /// Begins a conversation with the task that `reference` names.
    pub(super) async fn talk(
        self,
        api: &Api,
        read: &Read,
        reference: &str,
        ask: impl FnOnce(TaskId) -> Reach,
    ) -> Result<Response, ApiError> {
        let task = read.found(resolve::task(&read.view, reference))?;
        let task = running(api, &read.view, task)?;
        let (stream, place) = reach(api, &read.view, task, ask(task.id)).await?;
        Ok(self.converse(api, stream, place))
    }

    /// Answers 101 and carries chunks from then on; `place` names the other end for the client.
    pub(super) fn converse(self, api: &Api, stream: MessageStream, place: String) -> Response {
        let (ending, tasks) = (api.ending.clone(), api.tasks.clone());
        tasks.spawn("conversation", async move {
            let Self { upgrade, slot } = self;
            let carried = async {
                match upgrade.await {
                    Ok(upgraded) => carry(upgraded, stream, &place).await,
                    Err(error) => tracing::debug!(%error, "a client went before the upgrade"),
                }
            };
            ending.run_until_cancelled(carried).await;
            drop(slot);
        });
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static(PROTOCOL));
        response
    }
}

/// Begins a conversation with a running task; gives the stream and where the other end is.
pub(super) async fn reach(
    api: &Api,
    view: &View,
    task: &Task,
    ask: Reach,
) -> Result<(MessageStream, String), ApiError> {
    let node = task.node.ok_or_else(|| not_running(api, view, task))?;
    let place = view.nodes.get(&node).map(|node| node.description.hostname.clone());
    let place = place.unwrap_or_else(|| node.to_string());
    match api.backend.reach(node, ask).await {
        Ok(stream) => Ok((stream, place)),
        Err(ReachError::Forbidden { reason }) => Err(ApiError::forbidden(reason)),
        Err(ReachError::Unreachable { reason }) => {
            let name = tasks::name(view, task);
            Err(ApiError::unavailable(format!("node {place}, where {name} runs: {reason}")))
        }
    }
}

/// Refuses a task that does not run (any more). One that starts may well run, and not be healthy yet: that
/// is when somebody looks into it. If it does not, its node says so.
pub(super) fn running<'a>(api: &Api, view: &View, task: &'a Task) -> Result<&'a Task, ApiError> {
    match task.status.state {
        ObservedState::Starting | ObservedState::Running => Ok(task),
        ObservedState::New
        | ObservedState::Pending
        | ObservedState::Assigned
        | ObservedState::Accepted
        | ObservedState::Preparing
        | ObservedState::Ready
        | ObservedState::Complete
        | ObservedState::Shutdown
        | ObservedState::Failed
        | ObservedState::Rejected
        | ObservedState::Orphaned => Err(not_running(api, view, task)),
    }
}

fn not_running(api: &Api, view: &View, task: &Task) -> ApiError {
    let (name, state) = (tasks::name(view, task), task.status.state);
    let since = api.backend.now().since(task.status.since).as_secs();
    if !state.is_terminal() {
        let why = format!("it is {state}: {}", task.status.message);
        return ApiError::conflict(format!("task {name} ({}) does not run yet: {why}", task.id));
    }
    let end = tasks::end(task);
    let how = if end.is_empty() { task.status.message.clone() } else { end };
    ApiError::conflict(format!(
        "task {name} ({}) has ended {since}s ago, at {}: {state}, {how}; its output is in `swarm service \
         logs {name}`",
        task.id, task.status.since,
    ))
}

async fn carry(upgraded: Upgraded, stream: MessageStream, place: &str) {
    let Ok(parts) = upgraded.downcast::<TokioIo<UnixStream>>() else {
        tracing::warn!("an api connection is no socket");
        return;
    };
    let (reading, writing) = parts.io.into_inner().into_split();
    let (sender, receiver) = stream.split();
    let reader = ChunkReader::new(reading, &parts.read_buf);
    // Whichever ends first ends the other: the client is gone, or the task's node is done.
    tokio::select! {
        () = answer(receiver, ChunkWriter::new(writing), place) => {}
        () = ask(reader, sender) => {}
    }
}

/// Carries the client's chunks until it is gone, with signs of life in between.
async fn ask(mut from: ChunkReader<OwnedReadHalf>, mut to: MessageSender) {
    let mut alive = interval(PING);
    loop {
        let chunk = tokio::select! {
            chunk = from.next() => chunk,
            _tick = alive.tick() => Ok(Some(Chunk::Ping)),
        };
        let Ok(Some(chunk)) = chunk else { return };
        let mut sending = pin!(to.send(chunk.to_message()));
        // Behind what nobody takes, the client's end would not be read: it is looked for.
        let sent = loop {
            tokio::select! {
                sent = &mut sending => break sent,
                _tick = alive.tick() => if hung_up(from.get_ref()).await { return },
            }
        };
        if sent.is_err() {
            // The other end says why, or its silence does.
            return std::future::pending().await;
        }
    }
}

/// Whether the client has closed its end, though not all that it wrote was read.
async fn hung_up(socket: &OwnedReadHalf) -> bool {
    let mut ready = pin!(socket.ready(Interest::READABLE));
    let now = poll_fn(|cx| Poll::Ready(ready.as_mut().poll(cx))).await;
    matches!(now, Poll::Ready(Ok(ready)) if ready.is_read_closed())
}

/// Carries the other node's chunks to their end.
async fn answer(mut from: MessageReceiver, mut to: ChunkWriter<OwnedWriteHalf>, place: &str) {
    let lost = |why: String| {
        let message = format!("the connection to node {place} was lost: {why}");
        Chunk::Ended(Ended { code: 1, message })
    };
    loop {
        let chunk = match from.recv().await {
            Ok(Some(message)) => Chunk::of_message(message).unwrap_or_else(|e| lost(e.to_string())),
            Ok(None) => lost("it ended early".to_owned()),
            Err(error) => lost(error.to_string()),
        };
        let sent = to.send(&chunk).await;
        if sent.is_err() || matches!(chunk, Chunk::Ended(_)) {
            // A client that is gone needs no end.
            to.finish().await.ok();
            return;
        }
    }
}
