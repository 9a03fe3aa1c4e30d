//! The leader's end of a session with one agent: assignments down, statuses up.

use std::sync::Arc;

use bytes::Bytes;
use swarm_model::command::Op;
use swarm_model::id::NodeId;
use swarm_model::view::View;
use swarm_net::frame;
use swarm_net::transport::{CallError, MessageReceiver, MessageSender, MessageStream};
use tokio::sync::watch;

use super::assignments::AssignmentSet;
use super::wire::{Hello, StatusBatch};
use crate::core::Core;
use crate::leader::Leadership;

/// Serves the agent of `node` until its session breaks or this node no longer leads.
pub async fn serve(core: Arc<Core>, node: NodeId, hello: Bytes, stream: MessageStream) {
    let Some(leadership) = core.leadership.borrow().clone() else {
        tracing::debug!(peer = %node, "an agent takes this node for the leader");
        return;
    };
    let session = async {
        if !introduce(&core, node, &hello).await {
            return;
        }
        let (down, up) = stream.split();
        tokio::select! {
            sent = assign(core.consensus.views(), node, &leadership, down) => {
                if let Err(error) = sent {
                    tracing::debug!(peer = %node, %error, "session ended");
                }
            }
            () = collect(node, &leadership, up) => {}
        }
    };
    tokio::select! {
        () = session => {}
        () = leadership.ended.cancelled() => {}
    }
}

/// Records what the agent says of its node.
async fn introduce(core: &Core, node: NodeId, hello: &[u8]) -> bool {
    let hello: Hello = match frame::decode(hello) {
        Ok(hello) => hello,
        Err(error) => {
            tracing::warn!(peer = %node, %error, "an agent's first words make no sense");
            return false;
        }
    };
    if let Ok(addr) = hello.addr.parse() {
        core.transport.set_address(node, addr);
    }
    let op = Op::DescribeNode {
        id: node,
        incarnation: hello.incarnation,
        description: hello.description,
        addr: hello.addr,
    };
    match core.consensus.propose(&core.own_command(op)).await {
        Ok(applied) => match applied.outcome {
            Ok(_) => true,
            Err(rejection) => {
                tracing::info!(peer = %node, error = %rejection, "an agent was turned away");
                false
            }
        },
        Err(error) => {
            tracing::debug!(peer = %node, %error, "an agent could not be introduced");
            false
        }
    }
}

/// Sends the node's assignments as they change.
async fn assign(
    mut views: watch::Receiver<Arc<View>>,
    node: NodeId,
    leadership: &Leadership,
    mut down: MessageSender,
) -> Result<(), CallError> {
    let mut set = AssignmentSet::new(node, leadership.term);
    let mut view = views.borrow_and_update().clone();
    for message in set.full(&view) {
        down.send(frame::encode(&message)).await?;
    }
    loop {
        let Ok(new) = views.wait_for(|new| concerns(new, &view)).await.map(|new| new.clone())
        else {
            return Ok(());
        };
        view = new;
        for message in set.difference(&view) {
            down.send(frame::encode(&message)).await?;
        }
    }
}

/// Whether the difference between two views can change an assignment.
fn concerns(new: &View, old: &View) -> bool {
    !new.tasks.ptr_eq(&old.tasks)
        || !new.nodes.ptr_eq(&old.nodes)
        || !new.services.ptr_eq(&old.services)
}

/// Hands the agent's reports to the recorder.
async fn collect(node: NodeId, leadership: &Leadership, mut up: MessageReceiver) {
    while let Ok(Some(bytes)) = up.recv().await {
        let batch: StatusBatch = match frame::decode(&bytes) {
            Ok(batch) => batch,
            Err(error) => {
                tracing::warn!(peer = %node, %error, "an agent sent what is no status");
                return;
            }
        };
        if leadership.reports.send((node, batch.reports)).await.is_err() {
            return;
        }
    }
}
