//! Gossip at work: the handle that the node holds, the task that keeps time, the task that syncs.
//!
//! All decisions are [`super::core`]'s, taken under one short lock; what it wants sent goes out after.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use swarm_model::id::{Incarnation, NodeId};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::config::GossipConfig;
use super::core::{Core, Output};
use super::identity::Identity;
use super::members::MemberView;
use super::status::{StatusError, StatusKey, StatusView};
use crate::frame;
use crate::rpc::{Method, Refusal, RefusalCode};
use crate::task::TaskGroup;
use crate::transport::{Peer, Transport};

/// Peers that wait for a push/pull; more are dropped, the next packet asks again.
const SYNC_QUEUE: usize = 16;
/// A push/pull message has to be answered in this time.
const SYNC_DEADLINE: Duration = Duration::from_secs(3);
/// Messages in one push/pull; what is left waits for the next.
const SYNC_ROUNDS: usize = 32;
/// Sleeping with nothing due: long, since every event wakes the task.
const IDLE: Duration = Duration::from_secs(3600);

/// Gossip on this node. Clones are handles to the same one.
#[derive(Clone)]
pub struct Gossip {
    shared: Arc<Shared>,
}

struct Shared {
    core: Mutex<Core>,
    transport: Arc<dyn Transport>,
    members: watch::Sender<MemberView>,
    revision: watch::Sender<u64>,
    /// Something is due earlier than the task thinks.
    wake: Notify,
    syncs: mpsc::Sender<NodeId>,
}

/// A reader of the status maps: tells what changed since it last looked.
#[derive(Debug)]
pub struct Statuses {
    gossip: Gossip,
    revision: watch::Receiver<u64>,
    seen: u64,
}

impl Gossip {
    /// Starts gossip: it runs until `tasks` is shut down.
    ///
    /// `addr` is where peers reach this node; `seed` decides whom it probes and asks, in which order.
    pub fn start(
        config: GossipConfig,
        me: NodeId,
        incarnation: Incarnation,
        addr: SocketAddr,
        transport: Arc<dyn Transport>,
        seed: u64,
        tasks: &TaskGroup,
    ) -> Self {
        let identity = Identity { node: me, incarnation, bump: 0, addr };
        let for_times = transport.clone();
        let round_trips = Box::new(move |node| for_times.round_trip(node));
        let (syncs, wanted) = mpsc::channel(SYNC_QUEUE);
        let shared = Arc::new(Shared {
            core: Mutex::new(Core::new(config, identity, seed, round_trips)),
            transport,
            members: watch::Sender::new(MemberView::default()),
            revision: watch::Sender::new(0),
            wake: Notify::new(),
            syncs,
        });
        let token = tasks.token();
        let (ticking, syncing) = (keep_time(shared.clone()), run_syncs(shared.clone(), wanted));
        let cancelled = token.clone();
        tasks.spawn("gossip", async move {
            cancelled.run_until_cancelled(ticking).await;
        });
        tasks.spawn("gossip sync", async move {
            token.run_until_cancelled(syncing).await;
        });
        Self { shared }
    }

    /// The other nodes of the cluster, as the member list has them now; call it again when that changes.
    /// Those that are not alive are announced to until they are.
    pub fn seed_peers(&self, peers: Vec<(NodeId, SocketAddr)>) {
        for (node, addr) in &peers {
            if self.shared.transport.address(*node).is_none() {
                self.shared.transport.set_address(*node, *addr);
            }
        }
        self.shared.with(|core, now| core.seed_peers(now, peers));
    }

    /// This node is reached at `addr` from now on; tells the others.
    pub fn relocate(&self, addr: SocketAddr) {
        self.shared.with(|core, now| core.relocate(now, addr));
    }

    /// Drops a node that was removed from the cluster.
    pub fn forget(&self, node: NodeId) {
        self.shared.with(|core, now| core.forget(now, node));
    }

    /// Takes a datagram of the gossip lane.
    pub fn handle_datagram(&self, from: Peer, payload: &[u8]) {
        self.shared.with(|core, now| core.handle_datagram(now, from.node_id, payload));
    }

    /// Answers [`Method::GossipSync`].
    ///
    /// # Errors
    /// A refusal when the request is malformed; nothing was changed.
    pub fn handle_sync(&self, from: Peer, request: &[u8]) -> Result<Bytes, Refusal> {
        self.shared
            .with(|core, now| core.handle_sync(now, from.node_id, request))
            .map_err(|error| Refusal::new(RefusalCode::Malformed, error.to_string()))
    }

    /// Publishes `value` under `key` in this node's own map; peers have it within moments.
    ///
    /// # Errors
    /// When the map would grow over its limit; nothing changed.
    pub fn publish(&self, key: StatusKey, value: Bytes) -> Result<(), StatusError> {
        self.shared.with(|core, now| core.write(now, key, Some(value)))
    }

    /// Removes `key` from this node's own map.
    pub fn retract(&self, key: StatusKey) {
        let retracted = self.shared.with(|core, now| core.write(now, key, None));
        debug_assert!(retracted.is_ok(), "removing never takes room");
    }

    /// What is believed about the other nodes; always the newest.
    pub fn members(&self) -> watch::Receiver<MemberView> {
        self.shared.members.subscribe()
    }

    /// What `node` says about itself; empty if nothing is known.
    pub fn status(&self, node: NodeId) -> StatusView {
        self.shared.core().status(node)
    }

    /// A reader of all status maps; its first look shows everything.
    pub fn statuses(&self) -> Statuses {
        Statuses { gossip: self.clone(), revision: self.shared.revision.subscribe(), seen: 0 }
    }
}

impl Statuses {
    /// The maps that changed since the last call, whole; waits if none did. A map that is empty may
    /// belong to a node that is gone.
    ///
    /// # Cancel safety
    /// Cancel-safe: what was not returned is returned next time.
    pub async fn changed(&mut self) -> Vec<(NodeId, StatusView)> {
        loop {
            let changed = self.take();
            if !changed.is_empty() {
                return changed;
            }
            if self.revision.changed().await.is_err() {
                // Not while a handle, such as ours, exists.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The same without waiting.
    pub fn take(&mut self) -> Vec<(NodeId, StatusView)> {
        self.revision.mark_unchanged();
        let core = self.gossip.shared.core();
        let changed = core.statuses_since(self.seen);
        self.seen = core.status_revision();
        changed
    }
}

impl Shared {
    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One step of the core, then everything that follows from it.
    fn with<R>(&self, step: impl FnOnce(&mut Core, Instant) -> R) -> R {
        let mut core = self.core();
        let before = core.next_deadline();
        let result = step(&mut core, Instant::now());
        let outputs = core.take_outputs();
        if let Some(view) = core.take_view() {
            self.members.send_replace(view);
        }
        let revision = core.status_revision();
        self.revision.send_if_modified(|seen| std::mem::replace(seen, revision) != revision);
        let after = core.next_deadline();
        drop(core);
        if after.is_some_and(|after| before.is_none_or(|before| after < before)) {
            self.wake.notify_one();
        }
        for output in outputs {
            self.perform(output);
        }
        result
    }

    fn perform(&self, output: Output) {
        match output {
            Output::Datagram(to, payload) => {
                if let Err(error) = self.transport.datagram(to, payload) {
                    tracing::trace!(peer = %to, %error, "gossip not sent");
                }
            }
            Output::Sync(peer) => {
                if self.syncs.try_send(peer).is_err() {
                    tracing::debug!(%peer, "gossip sync queue full");
                }
            }
            Output::Address(node, addr) => self.transport.set_address(node, addr),
        }
    }

    async fn sync(&self, peer: NodeId) {
        let mut request = self.core().sync_request();
        for _round in 0..SYNC_ROUNDS {
            let body = frame::encode(&request);
            let asked = self.transport.call(peer, Method::GossipSync, body, SYNC_DEADLINE).await;
            let next = match asked {
                Ok(answer) => self.with(|core, now| core.sync_answer(now, peer, &answer)),
                Err(error) => return tracing::debug!(%peer, %error, "gossip sync failed"),
            };
            match next {
                Ok(Some(more)) => request = more,
                Ok(None) => return,
                Err(error) => return tracing::debug!(%peer, %error, "malformed gossip sync"),
            }
        }
    }
}

/// Ticks the core whenever something is due.
async fn keep_time(shared: Arc<Shared>) {
    loop {
        let deadline = shared.core().next_deadline();
        tokio::select! {
            biased;
            () = shared.wake.notified() => {}
            () = sleep_until(deadline.unwrap_or_else(|| Instant::now() + IDLE)) => {
                shared.with(Core::tick);
            }
        }
    }
}

/// One push/pull after the other.
async fn run_syncs(shared: Arc<Shared>, mut wanted: mpsc::Receiver<NodeId>) {
    while let Some(peer) = wanted.recv().await {
        shared.sync(peer).await;
    }
}

impl fmt::Debug for Gossip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gossip").field("core", &*self.shared.core()).finish_non_exhaustive()
    }
}
