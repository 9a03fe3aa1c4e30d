//! Task output of another node: the asking end and the answering end of [`Method::TaskLogs`].

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde::{Deserialize, Serialize};
use swarm_model::id::{NodeId, TaskId};
use swarm_net::frame;
use swarm_net::rpc::Method;
use swarm_net::transport::{CallError, MessageStream, Transport};

use crate::api::backend::{LogsError, TaskLine};
use crate::api::local_logs;
use crate::core::Core;
use crate::logs::LogQuery;

/// How long the other node may take to begin.
const OPEN_DEADLINE: Duration = Duration::from_secs(2);
/// Lines in one message at most.
const LINES_PER_MESSAGE: usize = 256;

/// What is asked for.
#[derive(Debug, Serialize, Deserialize)]
struct Ask {
    tasks: Vec<TaskId>,
    query: LogQuery,
}

/// One message of the answer; the last one before the end may be an error.
type Lines = Result<Vec<TaskLine>, String>;

/// Lines of `tasks` on `node`.
pub(crate) fn fetch(
    transport: Arc<dyn Transport>,
    node: NodeId,
    tasks: Vec<TaskId>,
    query: LogQuery,
) -> BoxStream<'static, Result<TaskLine, LogsError>> {
    let lines = async move {
        let hello = frame::encode(&Ask { tasks, query });
        match transport.open(node, Method::TaskLogs, hello, OPEN_DEADLINE).await {
            Ok(stream) => receive(stream),
            Err(error) => failed(reason(error)),
        }
    };
    stream::once(lines).flatten().boxed()
}

/// Why another node does not answer; which one is not said again.
fn reason(error: CallError) -> String {
    match error {
        CallError::Unreachable { reason, .. } => format!("it cannot be reached: {reason}"),
        CallError::UnknownAddress { .. } => "its address is not known".to_owned(),
        error => error.to_string(),
    }
}

fn failed(reason: String) -> BoxStream<'static, Result<TaskLine, LogsError>> {
    stream::once(async { Err(LogsError { reason }) }).boxed()
}

fn receive(stream: MessageStream) -> BoxStream<'static, Result<TaskLine, LogsError>> {
    let (keep_open, receiver) = stream.split();
    let batches = stream::unfold((keep_open, receiver), |(keep_open, mut receiver)| async move {
        let batch = match receiver.recv().await {
            Ok(None) => return None,
            Ok(Some(bytes)) => {
                frame::decode::<Lines>(&bytes).unwrap_or_else(|e| Err(e.to_string()))
            }
            Err(error) => Err(error.to_string()),
        };
        Some((batch, (keep_open, receiver)))
    });
    let lines = batches.flat_map(|batch| match batch {
        Ok(lines) => stream::iter(lines).map(Ok).boxed(),
        Err(reason) => failed(reason),
    });
    // Nothing follows an error.
    let until_error = lines.scan(false, |failed, line| {
        let over = std::mem::replace(failed, line.is_err());
        std::future::ready((!over).then_some(line))
    });
    until_error.boxed()
}

/// Answers another node's request, until it has enough.
pub(crate) async fn serve(core: Arc<Core>, hello: Bytes, stream: MessageStream) {
    let Ok(ask) = frame::decode::<Ask>(&hello) else { return };
    let (mut sender, mut receiver) = stream.split();
    let lines = local_logs(&core.logs, &ask.tasks, ask.query);
    let send = async move {
        let mut batches = lines.ready_chunks(LINES_PER_MESSAGE);
        while let Some(batch) = batches.next().await {
            let mut good = Vec::new();
            let mut error = None;
            for line in batch {
                match line {
                    Ok(line) => good.push(line),
                    Err(failure) => error = Some(failure.reason),
                }
            }
            if sender.send(frame::encode::<Lines>(&Ok(good))).await.is_err() {
                return;
            }
            if let Some(reason) = error {
                drop(sender.send(frame::encode::<Lines>(&Err(reason))).await);
                return;
            }
        }
        sender.finish();
    };
    let hung_up = async { while let Ok(Some(_)) = receiver.recv().await {} };
    let stop = core.tasks.token();
    tokio::select! {
        () = send => {}
        () = hung_up => {}
        () = stop.cancelled() => {}
    }
}
