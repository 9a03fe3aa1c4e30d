//! The mesh: one UDP socket, QUIC with mutual TLS, a connection per peer and lane.
//!
//! Who may call what is `rpc`'s to say; what a call means is the handler's.

mod admit;
mod budget;
mod client;
mod codes;
mod endpoint;
mod epochs;
mod expiry;
mod framed;
mod inbound;
mod join;
mod limits;
mod link;
mod pool;
mod serve;
mod server;
mod shared;
#[cfg(test)]
mod tests;
mod tls;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use swarm_model::clock::Clock;
use swarm_model::id::NodeId;

use self::client::Call;
use self::inbound::Inbound;
use self::pool::Pool;
use self::shared::Shared;
use self::tls::{Credentials, WallClock};
use crate::Error;
use crate::ca::Identity;
use crate::rpc::{Lane, Method};
use crate::task::TaskGroup;
use crate::transport::{CallError, Handler, Members, Membership, MessageStream, Transport};

pub(crate) use admit::Hello;
pub(crate) use epochs::read_farewell;
pub(crate) use framed::{FrameReader, FrameWriter};
pub use join::join_call;

/// What a mesh needs.
pub struct MeshConfig {
    /// The UDP address to listen on, and to dial from.
    pub listen: SocketAddr,
    /// Who this node is.
    pub identity: Identity,
    /// The member list.
    pub members: Arc<dyn Members>,
    /// What answers calls; see [`crate::transport::LateHandler`] when it comes later.
    pub handler: Arc<dyn Handler>,
    /// Owns the mesh's tasks; when it shuts down, the mesh stops.
    pub tasks: TaskGroup,
    /// Tells whether certificates are valid.
    pub clock: Arc<dyn Clock>,
}

/// This node's end of the mesh. Clones are handles to the same one.
#[derive(Clone)]
pub struct Mesh {
    shared: Arc<Shared>,
}

impl Mesh {
    /// Opens the socket and starts to accept. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the port cannot be had, or the identity is not usable.
    pub fn bind(config: MeshConfig) -> Result<Self, Error> {
        let MeshConfig { listen, identity, members, handler, tasks, clock } = config;
        let clock = WallClock(clock);
        let credentials = Credentials::new(&identity, &clock)?;
        let (endpoint, port) = endpoint::bind(listen, identity.key(), credentials.accept.clone())?;
        let shared = Arc::new(Shared {
            me: identity.node_id(),
            cluster_id: identity.cluster_id(),
            endpoint,
            port,
            clock,
            members,
            handler,
            closing: tasks.token().child_token(),
            tasks,
            credentials: RwLock::new(credentials),
            addresses: RwLock::default(),
            pool: Pool::default(),
            inbound: Inbound::default(),
        });
        shared.tasks.spawn("mesh", server::run(shared.clone()));
        shared.tasks.spawn("certificate expiry", expiry::run(shared.clone()));
        Ok(Self { shared })
    }

    /// The address that is listened on, with the port that the system chose.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn local_addr(&self) -> Result<SocketAddr, Error> {
        let addr = SocketAddr::from(([0, 0, 0, 0], 0));
        self.shared.endpoint.local_addr().map_err(|source| Error::Bind { addr, source })
    }

    /// Goes on with a renewed certificate: the next call to each peer dials anew and shows it, streams
    /// stay where they are until the old one expires.
    ///
    /// # Errors
    /// When it is not usable or of another node; the old one stays then.
    pub fn set_identity(&self, identity: &Identity) -> Result<(), Error> {
        if identity.node_id() != self.shared.me || identity.cluster_id() != self.shared.cluster_id {
            return Err(Error::certificate("node identity", "it is of another node"));
        }
        let fresh = Credentials::new(identity, &self.shared.clock)?;
        self.shared.endpoint.set_server_config(Some(fresh.accept.clone()));
        *self.shared.credentials.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        self.shared.pool.renew();
        Ok(())
    }

    /// Closes all connections, tells the peers, stops accepting, and gives the port back.
    pub async fn close(&self) {
        self.shared.closing.cancel();
        self.shared.endpoint.close(codes::SHUTDOWN, b"the node stops");
        let idle = self.shared.endpoint.wait_idle();
        if tokio::time::timeout(limits::CLOSE_DEADLINE, idle).await.is_err() {
            tracing::debug!("some peers may not have heard that this node stops");
        }
        let releasing = endpoint::release(&self.shared.endpoint, &self.shared.port);
        match tokio::time::timeout(limits::CLOSE_DEADLINE, releasing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the port is not given back at once"),
            Err(_elapsed) => tracing::warn!("the port is not given back at once"),
        }
    }
}

impl Transport for Mesh {
    fn call(
        &self,
        to: NodeId,
        method: Method,
        body: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, CallError>> {
        Call::new(to, method, body, deadline).unary(self.shared.clone()).boxed()
    }

    fn connect(
        &self,
        to: NodeId,
        method: Method,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<(), CallError>> {
        Call::new(to, method, Bytes::new(), deadline).connect(self.shared.clone()).boxed()
    }

    fn open(
        &self,
        to: NodeId,
        method: Method,
        hello: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<MessageStream, CallError>> {
        Call::new(to, method, hello, deadline).stream(self.shared.clone()).boxed()
    }

    fn datagram(&self, to: NodeId, payload: Bytes) -> Result<(), CallError> {
        if self.shared.members.membership(to) == Membership::Removed {
            return Err(CallError::PeerRemoved { node: to });
        }
        self.shared.pool.link(to, Lane::Gossip).datagram(&self.shared, payload)
    }

    fn set_address(&self, node: NodeId, addr: SocketAddr) {
        if self.shared.remember(node, addr) {
            self.shared.pool.moved(node);
        }
    }

    fn address(&self, node: NodeId) -> Option<SocketAddr> {
        self.shared.address(node)
    }

    fn disconnect(&self, node: NodeId) {
        let words = epochs::removal(&self.shared);
        self.shared.pool.cut(node, &words);
        self.shared.inbound.cut(node, &words);
        self.shared.addresses.write().unwrap_or_else(PoisonError::into_inner).remove(&node);
    }

    fn knock(&self, node: NodeId, addr: SocketAddr) {
        let shared = self.shared.clone();
        self.shared.tasks.spawn("knock", async move { epochs::knock(&shared, node, addr).await });
    }

    fn round_trip(&self, node: NodeId) -> Option<Duration> {
        [Lane::Raft, Lane::Gossip, Lane::Rpc]
            .into_iter()
            .find_map(|lane| self.shared.pool.known(node, lane)?.live())
            .map(|connection| connection.rtt())
    }
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh").field("node_id", &self.shared.me).finish_non_exhaustive()
    }
}

impl fmt::Debug for MeshConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listen, identity, .. } = self;
        f.debug_struct("MeshConfig")
            .field("listen", listen)
            .field("identity", identity)
            .finish_non_exhaustive()
    }
}
