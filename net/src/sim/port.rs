//! One node's end of the simulated network: the [`Transport`] it calls through.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use swarm_model::epoch::Encounter;
use swarm_model::id::NodeId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::connection::Path;
use super::network::Network;
use super::pump::{WINDOW, pump};
use super::state::Slot;
use crate::rpc::admission::{admit, authorise};
use crate::rpc::{Kind, Lane, Method, Refusal, RefusalCode};
use crate::transport::{
    CallError, Caller, Foreign, Membership, MessageReceiver, MessageSender, MessageStream, Peer,
    Transport, other_epoch,
};

/// The largest datagram: what QUIC can send before it has measured the path.
pub(crate) const MAX_DATAGRAM: usize = 1162;

/// How long a knock may take.
const KNOCK_DEADLINE: Duration = Duration::from_secs(3);

/// See the module.
#[derive(Clone)]
pub(super) struct Port {
    inner: Arc<Inner>,
}

struct Inner {
    network: Network,
    me: NodeId,
    life: CancellationToken,
    addresses: Mutex<BTreeMap<NodeId, SocketAddr>>,
}

/// What is asked of a peer.
struct Ask {
    to: NodeId,
    method: Method,
    body: Bytes,
    deadline: Duration,
}

/// A connection that stands, the node at its other end, and who we are to it.
struct Line {
    path: Path,
    slot: Slot,
    from: Peer,
}

impl Port {
    pub(super) fn new(network: Network, me: NodeId, life: CancellationToken) -> Self {
        let addresses = Mutex::new(BTreeMap::new());
        Self { inner: Arc::new(Inner { network, me, life, addresses }) }
    }
}

impl Inner {
    fn address(&self, node: NodeId) -> Option<SocketAddr> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).get(&node).copied()
    }

    /// The peer, if it is where we think, and who we are to it. Nothing is waited for.
    fn find(&self, to: NodeId) -> Result<(Slot, Peer), CallError> {
        let addr = self.address(to).ok_or(CallError::UnknownAddress { node: to })?;
        let unreachable = |reason: String| CallError::Unreachable { node: to, reason };
        let state = self.network.state();
        let me = state.slots.get(&self.me).expect("a port's node stays registered");
        let (found, slot) =
            state.at(addr).ok_or_else(|| unreachable(format!("nobody listens at {addr}")))?;
        if found != to {
            return Err(unreachable(format!("at {addr} is node {found}")));
        }
        self.compare_epochs(me, to, slot).map_err(unreachable)?;
        admit(&*me.members, to, slot.role)
            .map_err(|_removed| CallError::PeerRemoved { node: to })?;
        let role = admit(&*slot.members, self.me, me.role)?;
        Ok((slot.clone(), Peer { node_id: self.me, role, addr: me.addr }))
    }

    /// Nodes of different epochs do not talk: whoever is behind hears of it.
    fn compare_epochs(&self, me: &Slot, to: NodeId, slot: &Slot) -> Result<(), String> {
        let Some(theirs) = slot.members.epoch() else { return Ok(()) };
        let removed = |by: &Slot, node| by.members.membership(node) == Membership::Removed;
        let (here, there) = (self.me, to);
        let Some(ours) = me.members.epoch().filter(|ours| *ours != theirs) else {
            if removed(slot, here) {
                let role = slot.role;
                me.members.met(Foreign { node: there, role, epoch: theirs, left_out: true });
            }
            return Ok(());
        };
        if theirs.meet(ours) != Encounter::Older {
            let left_out = removed(me, there);
            slot.members.met(Foreign { node: here, role: me.role, epoch: ours, left_out });
        }
        if ours.meet(theirs) != Encounter::Older {
            let left_out = removed(slot, here);
            me.members.met(Foreign { node: there, role: slot.role, epoch: theirs, left_out });
        }
        Err(other_epoch(ours, theirs))
    }

    /// Gets a request to `to`, over a standing connection or a new one; waits while the link is cut.
    async fn reach(&self, to: NodeId, lane: Lane, until: Instant) -> Result<Line, CallError> {
        let route = (self.me, to, lane);
        let path = |closed| Path { network: self.network.clone(), from: self.me, to, lane, closed };
        let standing = self.network.state().connection(route);
        if let Some(closed) = standing {
            // A dead peer's connection stands until it times out: silence, not an error.
            let path = path(closed);
            let carried = timeout_at(until, path.carry()).await;
            if carried.map_err(|_elapsed| CallError::DeadlineExceeded)?.is_ok() {
                let (slot, from) = self.find(to)?;
                return Ok(Line { path, slot, from });
            }
        }
        let dialing = path(CancellationToken::new());
        let dialed = async {
            dialing.carry().await?;
            dialing.back().carry().await
        };
        let reason = || format!("no answer from {:?}", self.address(to));
        let silent = |_elapsed| CallError::Unreachable { node: to, reason: reason() };
        timeout_at(until, dialed).await.map_err(silent)??;
        let (slot, from) = self.find(to)?;
        let path = path(self.network.state().connect(route));
        Ok(Line { path, slot, from })
    }

    async fn call(&self, ask: Ask) -> Result<Bytes, CallError> {
        let until = Instant::now() + ask.deadline;
        let lane = ask.method.rule().lane;
        let line = self.reach(ask.to, lane, until).await?;
        authorise(ask.method, Kind::Unary, lane, Some(line.from.role))?;
        timeout_at(until, self.exchange(line, ask))
            .await
            .map_err(|_elapsed| CallError::DeadlineExceeded)?
    }

    async fn exchange(&self, line: Line, ask: Ask) -> Result<Bytes, CallError> {
        let Line { path, slot, from } = line;
        let (mut tell, told) = oneshot::channel();
        let serve = slot.handler.call(Caller::Node(from), ask.method, ask.body);
        let served = async move {
            timeout(ask.deadline, serve).await.unwrap_or_else(|_elapsed| {
                Err(Refusal::new(RefusalCode::TimedOut, "not answered in the caller's time"))
            })
        };
        self.network.tasks().spawn("sim call", async move {
            match slot.life.run_until_cancelled(served).await {
                Some(answer) => drop(tell.send(answer)),
                // The dead do not answer, and do not hang up.
                None => tell.closed().await,
            }
        });
        let answer = tokio::select! {
            biased;
            () = path.closed.cancelled() => return Err(CallError::Closed),
            answer = told => answer.map_err(|_dropped| CallError::Closed)?,
        };
        path.back().carry().await?;
        Ok(answer?)
    }

    async fn open(&self, ask: Ask) -> Result<MessageStream, CallError> {
        let until = Instant::now() + ask.deadline;
        let lane = ask.method.rule().lane;
        let Line { path, slot, from } = self.reach(ask.to, lane, until).await?;
        authorise(ask.method, Kind::Stream, lane, Some(from.role))?;
        let (near, far) = self.wire(&path, &slot);
        let serve = slot.handler.stream(from, ask.method, ask.body, far);
        let life = slot.life.clone();
        self.network.tasks().spawn("sim stream", async move {
            life.run_until_cancelled(serve).await;
        });
        let admitted = timeout_at(until, path.back().carry()).await;
        admitted.map_err(|_elapsed| CallError::DeadlineExceeded)??;
        Ok(near)
    }

    /// Two ends of a stream with a pump in each direction.
    fn wire(&self, path: &Path, slot: &Slot) -> (MessageStream, MessageStream) {
        let one_way = |path: Path, lives: [&CancellationToken; 2]| {
            let (to_pump, source) = mpsc::channel(1);
            let (sink, from_pump) = mpsc::channel(WINDOW);
            let moving = pump(path, source, sink, lives.map(CancellationToken::clone));
            self.network.tasks().spawn("sim stream direction", moving);
            (MessageSender::from_channel(to_pump), MessageReceiver::from_channel(from_pump))
        };
        let (near_out, far_in) = one_way(path.clone(), [&self.life, &slot.life]);
        let (far_out, near_in) = one_way(path.back(), [&slot.life, &self.life]);
        (MessageStream::new(near_out, near_in), MessageStream::new(far_out, far_in))
    }

    fn datagram(&self, to: NodeId, payload: Bytes) -> Result<(), CallError> {
        let (slot, from) = match self.find(to) {
            Ok(found) => found,
            Err(error @ CallError::UnknownAddress { .. }) => return Err(error),
            // Sent into the void, as far as the sender can tell.
            Err(_lost) => return Ok(()),
        };
        let arrivals = {
            let state = &mut *self.network.state();
            let link = state.link(self.me, to);
            let first = link.datagram(&mut state.rng);
            [first, first.and_then(|_| link.echo(&mut state.rng))]
        };
        for transit in arrivals.into_iter().flatten() {
            let (network, slot) = (self.network.clone(), slot.clone());
            let payload = payload.clone();
            self.network.tasks().spawn("sim datagram", async move {
                sleep(transit).await;
                let open = network.state().is_open((from.node_id, to, Lane::Gossip));
                if open && !slot.life.is_cancelled() {
                    slot.handler.datagram(from, payload);
                }
            });
        }
        Ok(())
    }
}

fn within(size: usize, limit: usize) -> Result<(), CallError> {
    if size > limit { Err(CallError::TooLarge { size, limit }) } else { Ok(()) }
}

impl Transport for Port {
    fn call(
        &self,
        to: NodeId,
        method: Method,
        body: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<Bytes, CallError>> {
        let inner = self.inner.clone();
        async move {
            within(body.len(), method.longest_request())?;
            inner.address(to).ok_or(CallError::UnknownAddress { node: to })?;
            let call = inner.call(Ask { to, method, body, deadline });
            inner.life.run_until_cancelled(call).await.unwrap_or(Err(CallError::Closed))
        }
        .boxed()
    }

    fn open(
        &self,
        to: NodeId,
        method: Method,
        hello: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'static, Result<MessageStream, CallError>> {
        let inner = self.inner.clone();
        async move {
            within(hello.len(), method.longest_request())?;
            inner.address(to).ok_or(CallError::UnknownAddress { node: to })?;
            let open = inner.open(Ask { to, method, body: hello, deadline });
            inner.life.run_until_cancelled(open).await.unwrap_or(Err(CallError::Closed))
        }
        .boxed()
    }

    fn datagram(&self, to: NodeId, payload: Bytes) -> Result<(), CallError> {
        within(payload.len(), MAX_DATAGRAM)?;
        if self.inner.life.is_cancelled() {
            return Err(CallError::Closed);
        }
        self.inner.datagram(to, payload)
    }

    fn set_address(&self, node: NodeId, addr: SocketAddr) {
        let before = {
            let mut known = self.inner.addresses.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert(node, addr)
        };
        if before.is_some_and(|before| before != addr) {
            self.inner.network.state().close_between(self.inner.me, node);
        }
    }

    fn address(&self, node: NodeId) -> Option<SocketAddr> {
        self.inner.address(node)
    }

    fn disconnect(&self, node: NodeId) {
        self.inner.addresses.lock().unwrap_or_else(PoisonError::into_inner).remove(&node);
        self.inner.network.state().close_between(self.inner.me, node);
    }

    fn knock(&self, node: NodeId, addr: SocketAddr) {
        let inner = self.inner.clone();
        self.inner.network.tasks().spawn("sim knock", async move {
            let (network, from) = (inner.network.clone(), inner.me);
            let closed = CancellationToken::new();
            let path = Path { network, from, to: node, lane: Lane::Rpc, closed };
            let reached = async { path.carry().await.and(path.back().carry().await) };
            let knocking = timeout(KNOCK_DEADLINE, reached);
            if !matches!(inner.life.run_until_cancelled(knocking).await, Some(Ok(Ok(_)))) {
                return;
            }
            let state = inner.network.state();
            let (me, found) = (state.slots.get(&inner.me), state.at(addr));
            if let (Some(me), Some((found, slot))) = (me, found)
                && found == node
                && let Err(reason) = inner.compare_epochs(me, node, slot)
            {
                tracing::debug!(peer = %node, reason, "told");
            }
        });
    }

    fn round_trip(&self, node: NodeId) -> Option<Duration> {
        let state = self.inner.network.state();
        let me = self.inner.me;
        let connected =
            Lane::ALL.into_iter().any(|lane| state.connection((me, node, lane)).is_some());
        connected.then(|| state.link(me, node).mean() + state.link(node, me).mean())
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port").field("me", &self.inner.me).finish_non_exhaustive()
    }
}
