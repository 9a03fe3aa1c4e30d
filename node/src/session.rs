//! How this node's agent reaches the leader: over the mesh, or straight to the leader loop beside it.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use swarm_model::id::NodeId;
use swarm_net::frame;
use swarm_net::rpc::Method;
use swarm_net::transport::{CallError, MessageStream};

use crate::agent::session::OpenSession;
use crate::core::Core;
use crate::dispatch;
use crate::dispatch::wire::Hello;
use crate::epoch;

/// How long the leader may take to admit a session.
const OPEN_DEADLINE: Duration = Duration::from_secs(3);
/// Messages on their way between agent and leader loop of one process.
const LOCAL_MESSAGES: usize = 16;

/// Opens sessions for one node.
#[derive(Debug)]
pub(crate) struct MeshSessions {
    core: Arc<Core>,
}

impl MeshSessions {
    /// For the node of `core`.
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

impl OpenSession for MeshSessions {
    fn open(&self, leader: NodeId) -> BoxFuture<'static, Result<MessageStream, CallError>> {
        let core = self.core.clone();
        let hello = frame::encode(&Hello {
            incarnation: core.incarnation,
            description: core.description.clone(),
            addr: core.addr.to_string(),
        });
        if leader != core.id {
            return async move {
                let opened =
                    core.transport.open(leader, Method::Session, hello, OPEN_DEADLINE).await;
                if let Err(CallError::Refused(refusal)) = &opened
                    && let Some(told) = refusal.removed_in()
                    && epoch::dismisses(&core, told)
                {
                    // The removal itself may never reach a node that was cut off at once.
                    tracing::warn!(peer = %leader, "this node was removed from the cluster");
                    core.dismissed.cancel();
                }
                opened
            }
            .boxed();
        }
        async move {
            let (ours, theirs) = MessageStream::pair(LOCAL_MESSAGES);
            let serving = dispatch::session::serve(core.clone(), core.id, hello, theirs);
            core.tasks.spawn("own session", serving);
            Ok(ours)
        }
        .boxed()
    }
}
