//! What all parts of one mesh share: the socket, the credentials, the ports to the rest of the node.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use quinn::Endpoint;
use swarm_model::id::{ClusterId, NodeId};
use tokio_util::sync::CancellationToken;

use super::endpoint::Port;
use super::inbound::Inbound;
use super::pool::Pool;
use super::tls::{Credentials, WallClock};
use crate::rpc::Lane;
use crate::task::TaskGroup;
use crate::transport::{Handler, Members};

pub(crate) struct Shared {
    pub(crate) me: NodeId,
    pub(crate) cluster_id: ClusterId,
    pub(crate) endpoint: Endpoint,
    pub(crate) port: Port,
    pub(crate) clock: WallClock,
    pub(crate) members: Arc<dyn Members>,
    pub(crate) handler: Arc<dyn Handler>,
    pub(crate) tasks: TaskGroup,
    /// Cancelled when the mesh closes or the tasks' owner shuts down.
    pub(crate) closing: CancellationToken,
    pub(crate) credentials: RwLock<Credentials>,
    pub(crate) addresses: RwLock<HashMap<NodeId, SocketAddr>>,
    /// Connections that this node opened.
    pub(crate) pool: Pool,
    /// Connections that others opened.
    pub(crate) inbound: Inbound,
}

impl Shared {
    pub(crate) fn dial_config(&self, lane: Lane) -> quinn::ClientConfig {
        self.credentials.read().unwrap_or_else(PoisonError::into_inner).dial(lane)
    }

    pub(crate) fn address(&self, node: NodeId) -> Option<SocketAddr> {
        self.addresses.read().unwrap_or_else(PoisonError::into_inner).get(&node).copied()
    }

    /// Remembers an address; true when it is another than before.
    pub(crate) fn remember(&self, node: NodeId, addr: SocketAddr) -> bool {
        if self.address(node) == Some(addr) {
            return false;
        }
        let mut addresses = self.addresses.write().unwrap_or_else(PoisonError::into_inner);
        addresses.insert(node, addr) != Some(addr)
    }

    /// A member has just called from `addr`: it is alive, whatever our dials say.
    pub(crate) fn seen(&self, node: NodeId, addr: SocketAddr) {
        if self.address(node).is_none() {
            self.remember(node, addr);
        }
        self.pool.seen(node);
    }
}
