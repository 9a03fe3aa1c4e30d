//! Reaching into tasks, on whichever node they run: the asking end. Each kind of call has a file with its
//! answering end.
//!
//! A call is a stream of [chunks](crate::chunk), the same whether the task is here or elsewhere. Whom to
//! ask, and for which task, the API decides.

pub mod busy;
pub mod exec;
pub mod files;
pub mod forward;
pub mod top;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use swarm_model::id::{NodeId, TaskId};
use swarm_net::rpc::{Method, RefusalCode};
use swarm_net::transport::{CallError, MessageStream};

use crate::api::backend::{Reach, ReachError};
use crate::core::Core;
use crate::runtime::{Failure, TaskRuntime};

/// How long the other node may take to begin.
const OPEN_DEADLINE: Duration = Duration::from_secs(5);
/// Messages on their way between both ends in one process.
const LOCAL_MESSAGES: usize = 4;
/// How often whoever asks says that it is still there.
pub const PING: Duration = Duration::from_millis(400);
/// Without a word for so long, who asks is gone: with the round trips that a lost word costs on top, what
/// was started ends within two seconds on a local network.
const SILENCE: Duration = Duration::from_millis(1600);
/// Round trips that a word may need on top of that: lost and sent again.
const ROUND_TRIPS: u32 = 8;

/// Asks `node`, this one or another; the stream carries chunks from then on.
pub(crate) async fn open(
    core: &Arc<Core>,
    node: NodeId,
    ask: Reach,
) -> Result<MessageStream, ReachError> {
    let (method, hello) = ask.to_hello();
    if node == core.id {
        let (ours, theirs) = MessageStream::pair(LOCAL_MESSAGES);
        let serving = serve(core.clone(), None, method, hello, theirs);
        core.tasks.spawn("own reach", serving);
        return Ok(ours);
    }
    core.transport.open(node, method, hello, OPEN_DEADLINE).await.map_err(reason)
}

fn reason(error: CallError) -> ReachError {
    match error {
        CallError::Refused(refusal) if refusal.code == RefusalCode::NotAllowed => {
            let reason = "this node is a worker, and only managers reach into tasks of other nodes: \
                          run the command on a manager, or on the node of the task";
            ReachError::Forbidden { reason: reason.to_owned() }
        }
        CallError::Refused(refusal) if refusal.code == RefusalCode::UnknownMethod => {
            let reason = "it runs an older version of swarm, which cannot do this: upgrade it";
            ReachError::Unreachable { reason: reason.to_owned() }
        }
        CallError::Unreachable { reason, .. } => {
            ReachError::Unreachable { reason: format!("it cannot be reached: {reason}") }
        }
        CallError::UnknownAddress { .. } => {
            ReachError::Unreachable { reason: "its address is not known".to_owned() }
        }
        error => ReachError::Unreachable { reason: error.to_string() },
    }
}

/// Answers a call of `from`; `None` is this node itself.
pub(crate) async fn serve(
    core: Arc<Core>,
    from: Option<NodeId>,
    method: Method,
    hello: Bytes,
    stream: MessageStream,
) {
    let silence = patience(&core, from);
    match method {
        Method::Exec => exec::serve(core, silence, hello, stream).await,
        Method::Files => files::serve(core, silence, hello, stream).await,
        Method::Forward => forward::serve(core, silence, hello, stream).await,
        other => tracing::warn!(method = ?other, "this call reaches into no task"),
    }
}

/// Asks each runtime: only the task's own knows it.
async fn of_its_runtime<T>(
    core: &Core,
    task: TaskId,
    ask: impl Fn(&dyn TaskRuntime) -> BoxFuture<'static, Result<T, Failure>>,
) -> Result<T, Failure> {
    for runtime in core.runtimes.iter() {
        match ask(&**runtime).await {
            Err(Failure::UnknownTask { .. }) => {}
            other => return other,
        }
    }
    Err(Failure::UnknownTask { task })
}

/// How long the asking end may be silent.
fn patience(core: &Core, from: Option<NodeId>) -> Duration {
    let round_trip = from.and_then(|node| core.transport.round_trip(node)).unwrap_or_default();
    SILENCE + ROUND_TRIPS * round_trip
}
