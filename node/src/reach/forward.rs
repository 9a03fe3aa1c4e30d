//! A connection to a port of a task of this node: the answering end of [`Method::Forward`].
//!
//! [`Method::Forward`]: swarm_net::rpc::Method::Forward

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use swarm_model::id::TaskId;
use swarm_net::frame;
use swarm_net::transport::{MessageReceiver, MessageSender, MessageStream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::chunk::{Chunk, DATA_MAX, Ended};
use crate::core::Core;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardAsk {
    /// Which task.
    pub task: TaskId,
    /// The port that it listens on.
    pub port: u16,
}

/// Connects and carries; the first word is a ping once the task has accepted, or how it failed.
pub(super) async fn serve(core: Arc<Core>, silence: Duration, hello: Bytes, stream: MessageStream) {
    let Ok(ask) = frame::decode::<ForwardAsk>(&hello) else { return };
    let (mut sender, receiver) = stream.split();
    let ForwardAsk { task, port } = ask;
    let connection = match super::of_its_runtime(&core, task, |it| it.connect(task, port)).await {
        Ok(connection) => connection,
        Err(failure) => {
            return end(sender, Ended { code: 1, message: failure.to_line() }).await;
        }
    };
    if sender.send(Chunk::Ping.to_message()).await.is_err() {
        return;
    }
    let (reading, writing) = connection.into_split();
    let input_over = CancellationToken::new();
    let stop = core.tasks.token();
    let unread = sender.closed();
    tokio::select! {
        () = tell(reading, sender, &input_over) => {}
        () = listen(receiver, writing, silence, &input_over) => {}
        () = unread => {}
        () = stop.cancelled() => {}
    }
}

async fn end(mut to: MessageSender, ended: Ended) {
    // Who is gone needs no end.
    drop(to.send(Chunk::Ended(ended).to_message()).await);
    to.finish();
}

/// Carries what the client says, until it is gone; the end of its data is not yet the end.
async fn listen(
    mut from: MessageReceiver,
    mut to: OwnedWriteHalf,
    silence: Duration,
    over: &CancellationToken,
) {
    while let Ok(Ok(Some(message))) = timeout(silence, from.recv()).await {
        match Chunk::of_message(message) {
            Ok(Chunk::Ping) => {}
            // The task does not read any more; it may still have something to say.
            Ok(Chunk::Input(_)) if over.is_cancelled() => {}
            Ok(Chunk::Input(data)) => {
                if to.write_all(&data).await.is_err() {
                    over.cancel();
                }
            }
            Ok(Chunk::InputEnd) => {
                to.shutdown().await.ok();
                over.cancel();
            }
            Ok(_) | Err(_) => return,
        }
    }
}

/// Carries what the task says, to the end of both directions.
async fn tell(mut from: OwnedReadHalf, mut to: MessageSender, input_over: &CancellationToken) {
    let mut part = vec![0; DATA_MAX];
    loop {
        let chunk = match from.read(&mut part).await {
            Ok(0) => Chunk::OutputEnd,
            Ok(count) => Chunk::Output(Bytes::copy_from_slice(&part[..count])),
            Err(error) => return end(to, Ended { code: 1, message: error.to_string() }).await,
        };
        if to.send(chunk.to_message()).await.is_err() {
            return;
        }
        if chunk == Chunk::OutputEnd {
            input_over.cancelled().await;
            return end(to, Ended::default()).await;
        }
    }
}

/// What is asked for, for the fuzz driver.
pub(crate) mod fuzz {
    use swarm_model::fuzz::Target;
    use swarm_net::fuzz::message;

    use super::*;

    /// A port of a task.
    pub(crate) const ASK: Target = Target::new("node.forward-ask", message::<ForwardAsk>, || {
        vec![frame::encode(&ForwardAsk { task: TaskId::from_raw(3), port: 8080 }).to_vec()]
    });
}
