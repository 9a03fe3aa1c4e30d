//! The handle that tests hold: adds nodes, breaks links, stops and restarts.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use swarm_model::id::NodeId;
use swarm_model::node::Role;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::link::Link;
use super::port::Port;
use super::state::{IDLE_TIMEOUT, Slot, State};
use crate::rpc::{Kind, Lane, Method, Refusal};
use crate::task::TaskGroup;
use crate::transport::{CallError, Caller, Handler, Members, Transport};

/// How long [`Network::shutdown`] waits for what still runs.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// A simulated network. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Network {
    state: Arc<Mutex<State>>,
    /// Rises with every cut, heal, stop and start, so that waiting messages look again.
    topology: watch::Sender<u64>,
    tasks: TaskGroup,
}

impl Network {
    /// An empty network; all its chances follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            state: Arc::new(Mutex::new(State::new(seed))),
            topology: watch::Sender::new(0),
            tasks: TaskGroup::new(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tasks(&self) -> &TaskGroup {
        &self.tasks
    }

    pub(super) fn topology(&self) -> watch::Receiver<u64> {
        self.topology.subscribe()
    }

    fn changed(&self) {
        self.topology.send_modify(|version| *version += 1);
    }

    /// Starts node `id`, certified as `role`. An id that was here before restarts: its earlier life ends,
    /// its address stays, and its peers' old connections are reset.
    pub fn node(
        &self,
        id: NodeId,
        role: Role,
        members: Arc<dyn Members>,
        handler: Arc<dyn Handler>,
    ) -> Arc<dyn Transport> {
        let life = CancellationToken::new();
        {
            let mut state = self.state();
            let addr = match state.slots.get(&id) {
                Some(before) => {
                    before.life.cancel();
                    before.addr
                }
                None => state.fresh_address(),
            };
            state.close_reachable(id);
            state.slots.insert(id, Slot { role, addr, members, handler, life: life.clone() });
        }
        self.changed();
        Arc::new(Port::new(self.clone(), id, life))
    }

    /// Kills node `id` without a word: its peers notice by time-outs, or when it restarts.
    pub fn stop(&self, id: NodeId) {
        let orphans = {
            let state = self.state();
            if let Some(slot) = state.slots.get(&id) {
                slot.life.cancel();
            }
            state.connections_of(id)
        };
        self.changed();
        self.tasks.spawn("sim idle time-out", async move {
            sleep(IDLE_TIMEOUT).await;
            for connection in orphans {
                connection.cancel();
            }
        });
    }

    /// Where node `id` listens.
    pub fn address(&self, id: NodeId) -> Option<SocketAddr> {
        self.state().slots.get(&id).map(|slot| slot.addr)
    }

    /// Gives node `id` a new address, as a network change does; connections go on.
    pub fn readdress(&self, id: NodeId) -> Option<SocketAddr> {
        let mut state = self.state();
        let addr = state.fresh_address();
        state.slots.get_mut(&id).map(|slot| {
            slot.addr = addr;
            addr
        })
    }

    /// How all links behave from now on.
    pub fn set_default_link(&self, link: Link) {
        self.state().set_default_link(link);
    }

    /// How one direction behaves from now on.
    pub fn set_link(&self, from: NodeId, to: NodeId, link: Link) {
        self.state().set_link(from, to, link);
    }

    /// Nothing gets from `from` to `to` until healed; the other direction is untouched.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        self.cut_lanes(from, to, &Lane::ALL);
    }

    /// As [`Network::cut`], but what goes along other lanes gets through.
    pub fn cut_lanes(&self, from: NodeId, to: NodeId, lanes: &[Lane]) {
        let since = Instant::now();
        let ways: Vec<_> = lanes.iter().map(|lane| (from, to, *lane)).collect();
        for way in &ways {
            self.state().cut(*way, since);
        }
        self.changed();
        let network = self.clone();
        self.tasks.spawn("sim idle time-out", async move {
            sleep(IDLE_TIMEOUT).await;
            let mut state = network.state();
            for way in ways {
                if state.cut_since(way).is_some_and(|at| at <= since) {
                    state.close_lane(way);
                }
            }
        });
    }

    /// Mends the direction from `from` to `to`.
    pub fn heal(&self, from: NodeId, to: NodeId) {
        self.state().heal(from, to, Instant::now());
        self.changed();
    }

    /// Mends everything that was cut.
    pub fn heal_all(&self) {
        let cuts = self.state().cut_pairs();
        for (from, to) in cuts {
            self.heal(from, to);
        }
    }

    /// Cuts all links between nodes of different groups, both ways; nodes in no group keep theirs.
    pub fn partition(&self, groups: &[&[NodeId]]) {
        for (index, group) in groups.iter().enumerate() {
            for other in groups.iter().skip(index + 1).flat_map(|other| other.iter()) {
                for id in *group {
                    self.cut(*id, *other);
                    self.cut(*other, *id);
                }
            }
        }
    }

    /// Cuts node `id` off from all others, both ways.
    pub fn isolate(&self, id: NodeId) {
        let others: Vec<NodeId> =
            self.state().slots.keys().copied().filter(|other| *other != id).collect();
        self.partition(&[&[id], &others]);
    }

    /// What a node without a certificate does: calls `Join` at `addr`.
    ///
    /// # Errors
    /// As [`Transport::call`].
    pub async fn join_call(
        &self,
        addr: SocketAddr,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, CallError> {
        let found = self.state().at(addr).map(|(id, slot)| (id, slot.handler.clone()));
        let Some((id, handler)) = found else {
            sleep(deadline).await;
            return Err(CallError::DeadlineExceeded);
        };
        crate::rpc::admission::authorise(Method::Join, Kind::Unary, Lane::Join, None)?;
        let (there, back) = {
            let state = &mut *self.state();
            let link = state.link(id, id);
            (link.message(&mut state.rng), link.message(&mut state.rng))
        };
        let from = Caller::Anonymous { addr: SocketAddr::from(([10, 255, 255, 255], 1)) };
        let served = async {
            sleep(there).await;
            let answer: Result<Bytes, Refusal> = handler.call(from, Method::Join, body).await;
            sleep(back).await;
            answer
        };
        let answer = tokio::time::timeout(deadline, served).await;
        Ok(answer.map_err(|_elapsed| CallError::DeadlineExceeded)??)
    }

    /// Ends everything that runs for the network.
    pub async fn shutdown(&self) {
        let slots: Vec<_> = self.state().slots.values().map(|slot| slot.life.clone()).collect();
        for life in slots {
            life.cancel();
        }
        self.tasks.shutdown(SHUTDOWN_GRACE).await;
    }
}
