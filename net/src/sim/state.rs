//! Who is in the network, which links are cut, and which connections stand. Pure: no waiting here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;
use swarm_model::id::NodeId;
use swarm_model::node::Role;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use super::link::Link;
use crate::rpc::Lane;
use crate::transport::{Handler, Members};

/// A connection over which nothing came for so long is closed by its ends.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
const PORT: u16 = 2377;

/// One node, in its newest life.
#[derive(Clone)]
pub(crate) struct Slot {
    pub(crate) role: Role,
    pub(crate) addr: SocketAddr,
    pub(crate) members: Arc<dyn Members>,
    pub(crate) handler: Arc<dyn Handler>,
    /// Ends with this life of the node.
    pub(crate) life: CancellationToken,
}

/// Who dialed whom, for what; or one lane of one direction.
pub(crate) type Route = (NodeId, NodeId, Lane);

/// All that is known about the simulated world.
pub(crate) struct State {
    pub(crate) rng: StdRng,
    pub(crate) slots: BTreeMap<NodeId, Slot>,
    default_link: Link,
    links: BTreeMap<(NodeId, NodeId), Link>,
    cuts: BTreeMap<Route, Instant>,
    connections: BTreeMap<Route, CancellationToken>,
    addresses: u32,
}

impl State {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            slots: BTreeMap::new(),
            default_link: Link::LAN,
            links: BTreeMap::new(),
            cuts: BTreeMap::new(),
            connections: BTreeMap::new(),
            addresses: 0,
        }
    }

    /// An address that nobody had before.
    pub(crate) fn fresh_address(&mut self) -> SocketAddr {
        self.addresses += 1;
        let [_, b, c, d] = self.addresses.to_be_bytes();
        SocketAddr::from(([10, b, c, d], PORT))
    }

    /// The running node at `addr`.
    pub(crate) fn at(&self, addr: SocketAddr) -> Option<(NodeId, &Slot)> {
        let here = |slot: &Slot| slot.addr == addr && !slot.life.is_cancelled();
        self.slots.iter().find(|(_, slot)| here(slot)).map(|(id, slot)| (*id, slot))
    }

    pub(crate) fn set_default_link(&mut self, link: Link) {
        self.default_link = link;
        self.links.clear();
    }

    pub(crate) fn set_link(&mut self, from: NodeId, to: NodeId, link: Link) {
        self.links.insert((from, to), link);
    }

    pub(crate) fn link(&self, from: NodeId, to: NodeId) -> Link {
        self.links.get(&(from, to)).copied().unwrap_or(self.default_link)
    }

    pub(crate) fn cut(&mut self, way: Route, now: Instant) {
        self.cuts.entry(way).or_insert(now);
    }

    /// Mends a link; what was silent for too long is closed.
    pub(crate) fn heal(&mut self, from: NodeId, to: NodeId, now: Instant) {
        for lane in Lane::ALL {
            let since = self.cuts.remove(&(from, to, lane));
            if since.is_some_and(|since| now - since >= IDLE_TIMEOUT) {
                self.close_lane((from, to, lane));
            }
        }
    }

    pub(crate) fn cut_pairs(&self) -> BTreeSet<(NodeId, NodeId)> {
        self.cuts.keys().map(|(from, to, _)| (*from, *to)).collect()
    }

    /// Since when this way has been cut.
    pub(crate) fn cut_since(&self, way: Route) -> Option<Instant> {
        self.cuts.get(&way).copied()
    }

    /// Whether packets get through one way between two running nodes.
    pub(crate) fn is_open(&self, way: Route) -> bool {
        let runs = |id| self.slots.get(&id).is_some_and(|slot: &Slot| !slot.life.is_cancelled());
        runs(way.0) && runs(way.1) && !self.cuts.contains_key(&way)
    }

    pub(crate) fn connection(&self, route: Route) -> Option<CancellationToken> {
        self.connections.get(&route).filter(|token| !token.is_cancelled()).cloned()
    }

    pub(crate) fn connect(&mut self, route: Route) -> CancellationToken {
        if let Some(open) = self.connection(route) {
            return open;
        }
        let token = CancellationToken::new();
        self.connections.insert(route, token.clone());
        token
    }

    pub(crate) fn close_between(&mut self, a: NodeId, b: NodeId) {
        self.close_where(|(from, to, _)| (from, to) == (a, b) || (from, to) == (b, a));
    }

    /// Closes the connections for one lane between two nodes, whoever dialed.
    pub(crate) fn close_lane(&mut self, (a, b, lane): Route) {
        self.close_where(|route| route == (a, b, lane) || route == (b, a, lane));
    }

    /// Closes the connections that node `id` has now, but for those that cannot tell their other end.
    pub(crate) fn close_reachable(&mut self, id: NodeId) {
        let cuts = self.cuts.clone();
        let silent = |(a, b, lane): Route| {
            cuts.contains_key(&(a, b, lane)) || cuts.contains_key(&(b, a, lane))
        };
        self.close_where(|route| (route.0 == id || route.1 == id) && !silent(route));
    }

    /// The connections that node `id` has now.
    pub(crate) fn connections_of(&self, id: NodeId) -> Vec<CancellationToken> {
        let of = |(from, to, _): &Route| *from == id || *to == id;
        self.connections.iter().filter(|(route, _)| of(route)).map(|(_, t)| t.clone()).collect()
    }

    fn close_where(&mut self, closes: impl Fn(Route) -> bool) {
        self.connections.retain(|route, token| {
            let close = closes(*route);
            if close {
                token.cancel();
            }
            !close && !token.is_cancelled()
        });
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("nodes", &self.slots.keys())
            .field("cuts", &self.cuts)
            .field("connections", &self.connections.len())
            .finish_non_exhaustive()
    }
}
