//! One more program in a task of this node: the answering end of [`Method::Exec`].
//!
//! [`Method::Exec`]: swarm_net::rpc::Method::Exec

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use swarm_model::id::TaskId;
use swarm_net::frame;
use swarm_net::transport::{MessageReceiver, MessageSender, MessageStream};
use tokio::time::timeout;

use crate::chunk::{Chunk, Ended};
use crate::core::Core;
use crate::runtime::{ExecInput, ExecOutput, ExecRequest, ExecSession};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecAsk {
    /// In which task.
    pub task: TaskId,
    /// What.
    pub request: ExecRequest,
}

/// Does what another node asks for; `silence` is how long nothing may be heard of it.
pub(super) async fn serve(core: Arc<Core>, silence: Duration, hello: Bytes, stream: MessageStream) {
    let Ok(ExecAsk { task, request }) = frame::decode(&hello) else { return };
    carry(core, silence, task, request, stream).await;
}

/// Does it in the task, to the end of that or of the call.
pub(super) async fn carry(
    core: Arc<Core>,
    silence: Duration,
    task: TaskId,
    request: ExecRequest,
    stream: MessageStream,
) {
    let (mut sender, receiver) = stream.split();
    let session = super::of_its_runtime(&core, task, |it| it.exec(task, request.clone())).await;
    let session = match session {
        Ok(session) => session,
        Err(failure) => {
            let ended = Ended { code: failure.exec_code(), message: failure.to_line() };
            drop(sender.send(Chunk::Ended(ended).to_message()).await);
            sender.finish();
            return;
        }
    };
    let ExecSession { input, output } = session;
    let stop = core.tasks.token();
    let unread = sender.closed();
    // Whichever ends first: dropping the session's input ends all that was started.
    tokio::select! {
        () = tell(output, sender) => {}
        () = listen(receiver, input, silence) => {}
        () = unread => {}
        () = stop.cancelled() => {}
    }
}

/// Carries what was said by who asked, until it is gone.
async fn listen(mut from: MessageReceiver, mut to: ExecInput, silence: Duration) {
    while let Ok(Ok(Some(message))) = timeout(silence, from.recv()).await {
        match Chunk::of_message(message) {
            Ok(Chunk::Ping) => {}
            Ok(chunk @ (Chunk::Input(_) | Chunk::InputEnd | Chunk::Resize(_))) => {
                if to.send(&chunk).await.is_err() {
                    // The keeper has ended: its last words may still be on their way.
                    return std::future::pending().await;
                }
            }
            Ok(_) | Err(_) => return,
        }
    }
}

/// Carries what the program says, to its end.
async fn tell(mut from: ExecOutput, mut to: MessageSender) {
    let lost = || Chunk::Ended(Ended { code: 1, message: "its keeper was killed".to_owned() });
    loop {
        let chunk = from.next().await.ok().flatten().unwrap_or_else(lost);
        let sent = to.send(chunk.to_message()).await;
        if sent.is_err() || matches!(chunk, Chunk::Ended(_)) {
            to.finish();
            return;
        }
    }
}

/// What is asked for, for the fuzz driver.
pub(crate) mod fuzz {
    use swarm_model::fuzz::Target;
    use swarm_net::fuzz::message;

    use super::*;
    use crate::chunk::Size;

    /// A program.
    pub(crate) const ASK: Target = Target::new("node.exec-ask", message::<ExecAsk>, || {
        let request = ExecRequest {
            env: vec![("A".to_owned(), "1".to_owned())],
            user: Some("web".to_owned()),
            terminal: Some(Size { rows: 2, columns: 3 }),
            input: true,
            ..ExecRequest::run(["/bin/sh", "-c", "true"])
        };
        vec![frame::encode(&ExecAsk { task: TaskId::from_raw(3), request }).to_vec()]
    });
}
