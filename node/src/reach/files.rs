//! Files out of and into a task of this node: the answering end of [`Method::Files`].
//!
//! [`Method::Files`]: swarm_net::rpc::Method::Files

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use swarm_model::id::TaskId;
use swarm_net::frame;
use swarm_net::transport::MessageStream;

use super::exec;
use crate::archive::Transfer;
use crate::core::Core;
use crate::runtime::ExecRequest;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesAsk {
    /// In which task.
    pub task: TaskId,
    /// What.
    pub transfer: Transfer,
}

/// Does what another node asks for; `silence` is how long nothing may be heard of it.
pub(super) async fn serve(core: Arc<Core>, silence: Duration, hello: Bytes, stream: MessageStream) {
    let Ok(FilesAsk { task, transfer }) = frame::decode(&hello) else { return };
    exec::carry(core, silence, task, ExecRequest::copy(transfer), stream).await;
}

/// What is asked for, for the fuzz driver.
pub(crate) mod fuzz {
    use swarm_model::fuzz::Target;
    use swarm_net::fuzz::message;

    use super::*;
    use crate::archive::Naming;

    /// Both directions.
    pub(crate) const ASK: Target = Target::new("node.files-ask", message::<FilesAsk>, || {
        let path = || "a/b".to_owned();
        let all = [
            Transfer::Pack { path: path() },
            Transfer::Unpack { path: path(), naming: Naming::Copied },
        ];
        let ask = |transfer| FilesAsk { task: TaskId::from_raw(3), transfer };
        all.into_iter().map(|transfer| frame::encode(&ask(transfer)).to_vec()).collect()
    });
}
