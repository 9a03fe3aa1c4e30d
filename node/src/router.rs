//! Calls from other nodes, each to the part that answers it. Callers were checked against the
//! method's rule before they get here.

use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use swarm_net::rpc::{Method, Refusal, RefusalCode};
use swarm_net::transport::{Caller, Handler, MessageStream, Peer};

use crate::core::Core;
use crate::reach::top;
use crate::{
    clocks, departure, dispatch, greet, join, propose, reach, readmit, remote_logs, upkeep,
};

/// Routes calls to a core that may still be under construction: the mesh listens before it stands.
#[derive(Debug, Default)]
pub struct Router {
    /// Weak: the core has the transport, which has the router. Held here it would keep the port of a life
    /// that has ended from the next one.
    core: OnceLock<Weak<Core>>,
}

impl Router {
    /// Gives the core; only the first one counts.
    pub fn serve(&self, core: &Arc<Core>) {
        drop(self.core.set(Arc::downgrade(core)));
    }

    fn core(&self) -> Result<Arc<Core>, Refusal> {
        let absent = || Refusal::new(RefusalCode::Unavailable, "the node starts or stops");
        self.core.get().and_then(Weak::upgrade).ok_or_else(absent)
    }
}

impl Handler for Router {
    fn call(
        &self,
        from: Caller,
        method: Method,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, Refusal>> {
        let core = match self.core() {
            Ok(core) => core,
            Err(refusal) => return async { Err(refusal) }.boxed(),
        };
        match from {
            Caller::Anonymous { addr } => stranger(core, addr, method, body),
            Caller::Node(peer) => member(core, peer, method, body),
        }
    }

    fn stream(
        &self,
        from: Peer,
        method: Method,
        hello: Bytes,
        stream: MessageStream,
    ) -> BoxFuture<'static, ()> {
        let Ok(core) = self.core() else { return async {}.boxed() };
        match method {
            Method::RaftAppend | Method::RaftSnapshot => {
                core.consensus.handle_stream(from, method, hello, stream)
            }
            Method::Session => dispatch::session::serve(core, from.node_id, hello, stream).boxed(),
            Method::TaskLogs => remote_logs::serve(core, hello, stream).boxed(),
            Method::Exec | Method::Files | Method::Forward => {
                reach::serve(core, Some(from.node_id), method, hello, stream).boxed()
            }
            other => {
                tracing::warn!(peer = %from.node_id, method = ?other, "a call came as a stream");
                async {}.boxed()
            }
        }
    }

    fn datagram(&self, from: Peer, payload: Bytes) {
        if let Ok(core) = self.core() {
            core.gossip.handle_datagram(from, &payload);
        }
    }
}

type Answer = BoxFuture<'static, Result<Bytes, Refusal>>;

fn stranger(core: Arc<Core>, addr: std::net::SocketAddr, method: Method, body: Bytes) -> Answer {
    match method {
        Method::Join => join::serve(core, addr, body).boxed(),
        _ => async { Err(not_allowed()) }.boxed(),
    }
}

fn member(core: Arc<Core>, peer: Peer, method: Method, body: Bytes) -> Answer {
    match method {
        Method::RaftHeartbeat
        | Method::RaftVote
        | Method::RaftPreVote
        | Method::RaftTransferLeader => core.consensus.handle_call(peer, method, body),
        Method::Propose => propose::serve(core, peer, body).boxed(),
        Method::ReadIndex => propose::serve_read_index(core).boxed(),
        Method::ManagerKeys => async move { upkeep::serve_keys(&core) }.boxed(),
        Method::RenewCertificate => {
            async move { upkeep::serve_renewal(&core, peer, &body) }.boxed()
        }
        Method::Leave => departure::serve(core, peer, body).boxed(),
        Method::NodeStatus => async move { upkeep::serve_status(&core) }.boxed(),
        Method::Clock => async move { Ok(clocks::serve(&core)) }.boxed(),
        Method::Readmit => readmit::serve(core, peer, body).boxed(),
        Method::Greet => async move { greet::serve(&core, peer, &body) }.boxed(),
        Method::TaskTop => top::serve(core, body).boxed(),
        Method::GossipSync => async move { core.gossip.handle_sync(peer, &body) }.boxed(),
        Method::Join
        | Method::RaftAppend
        | Method::RaftSnapshot
        | Method::Session
        | Method::TaskLogs
        | Method::Exec
        | Method::Files
        | Method::Forward => async { Err(not_allowed()) }.boxed(),
    }
}

fn not_allowed() -> Refusal {
    Refusal::new(RefusalCode::NotAllowed, "this call is not made in this way")
}
