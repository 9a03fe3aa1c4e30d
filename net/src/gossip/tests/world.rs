//! Many gossip cores on one virtual clock: loss, delay, cuts, kills, restarts and frozen processes, by seed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use swarm_model::id::{Incarnation, NodeId};
use tokio::time::Instant;

use crate::frame;
use crate::gossip::config::GossipConfig;
use crate::gossip::core::{Core, Output};
use crate::gossip::identity::Identity;
use crate::gossip::members::{Liveness, MemberView};
use crate::gossip::packet::Packet;

pub(super) fn node(index: usize) -> NodeId {
    NodeId::from_raw(index as u128 + 1)
}

pub(super) fn addr(index: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, u8::try_from(index + 1).expect("small")], 2377))
}

struct Node {
    core: Core,
    view: MemberView,
    /// What waits in the socket of a process that does not run.
    frozen: Option<Vec<(NodeId, Bytes)>>,
}

/// See the module.
pub(super) struct World {
    start: Instant,
    pub(super) now: Duration,
    rng: StdRng,
    size: usize,
    nodes: BTreeMap<NodeId, Node>,
    flying: BTreeMap<(Duration, u64), (NodeId, NodeId, Bytes)>,
    cuts: BTreeSet<(NodeId, NodeId)>,
    pub(super) loss: f64,
    pub(super) delay: Duration,
    pub(super) jitter: Duration,
    lives: u128,
    pub(super) sent: u64,
    pub(super) sent_bytes: u64,
    pub(super) syncs: u64,
    /// No push/pull gets through.
    pub(super) sync_fails: bool,
    /// Who declared whom down, when.
    pub(super) downs: Vec<(Duration, NodeId, NodeId)>,
}

impl World {
    /// `size` nodes that have just started and know each other's addresses.
    pub(super) fn new(size: usize, seed: u64) -> Self {
        let mut world = Self {
            start: Instant::now(),
            now: Duration::ZERO,
            rng: StdRng::seed_from_u64(seed),
            size,
            nodes: BTreeMap::new(),
            flying: BTreeMap::new(),
            cuts: BTreeSet::new(),
            loss: 0.0,
            delay: Duration::from_millis(1),
            jitter: Duration::from_millis(1),
            lives: u128::from(seed) << 32,
            sent: 0,
            sent_bytes: 0,
            syncs: 0,
            sync_fails: false,
            downs: Vec::new(),
        };
        for index in 0..size {
            world.start(index);
        }
        world
    }

    /// A new process of this node, which knows its peers.
    pub(super) fn start(&mut self, index: usize) {
        self.start_alone(index);
        let peers = (0..self.size).map(|index| (node(index), addr(index))).collect();
        self.step(node(index), |core, now| core.seed_peers(now, peers));
    }

    /// A new process of this node, which knows nobody.
    pub(super) fn start_alone(&mut self, index: usize) {
        // Odd lives have small incarnations: the later life may well be the lower number.
        self.lives += 1;
        let incarnation = Incarnation::from_raw(if self.lives.is_multiple_of(2) {
            self.lives
        } else {
            u128::MAX - self.lives
        });
        let me = Identity { node: node(index), incarnation, bump: 0, addr: addr(index) };
        let times = Box::new({
            let round_trip = 2 * self.delay + self.jitter;
            move |_| Some(round_trip)
        });
        let core = Core::new(GossipConfig::default(), me, self.rng.random(), times);
        let fresh = Node { core, view: MemberView::default(), frozen: None };
        self.nodes.insert(node(index), fresh);
    }

    pub(super) fn kill(&mut self, index: usize) {
        self.nodes.remove(&node(index));
    }

    pub(super) fn freeze(&mut self, index: usize) {
        self.nodes.get_mut(&node(index)).expect("runs").frozen = Some(Vec::new());
    }

    /// What waits in the socket of a frozen process.
    pub(super) fn waiting(&self, index: usize) -> Vec<Packet> {
        let waiting = self.nodes[&node(index)].frozen.iter().flatten();
        waiting.map(|(_, payload)| frame::decode(payload).expect("sound")).collect()
    }

    /// The process runs again; its timers, all late, come before what waits in its socket.
    pub(super) fn thaw(&mut self, index: usize) {
        let id = node(index);
        self.step(id, Core::tick);
        let waiting = self.nodes.get_mut(&id).expect("exists").frozen.take().unwrap_or_default();
        for (from, payload) in waiting {
            self.step(id, |core, now| core.handle_datagram(now, from, &payload));
        }
    }

    pub(super) fn cut(&mut self, from: usize, to: usize) {
        self.cuts.insert((node(from), node(to)));
    }

    pub(super) fn partition(&mut self, left: &[usize], right: &[usize]) {
        for (a, b) in left.iter().flat_map(|a| right.iter().map(move |b| (*a, *b))) {
            self.cut(a, b);
            self.cut(b, a);
        }
    }

    pub(super) fn heal(&mut self) {
        self.cuts.clear();
    }

    pub(super) fn core(&mut self, index: usize) -> &mut Core {
        &mut self.nodes.get_mut(&node(index)).expect("runs").core
    }

    pub(super) fn view(&self, index: usize) -> MemberView {
        self.nodes[&node(index)].view.clone()
    }

    pub(super) fn liveness(&self, observer: usize, subject: usize) -> Option<Liveness> {
        self.view(observer).get(&node(subject)).map(|info| info.liveness)
    }

    /// True if every running node believes every other running node alive.
    pub(super) fn all_alive(&self) -> bool {
        let others = |id: &NodeId| self.nodes.keys().filter(|other| *other != id).count();
        self.nodes.iter().all(|(id, node)| {
            let alive = node.view.iter().filter(|(peer, info)| {
                self.nodes.contains_key(*peer) && info.liveness == Liveness::Alive
            });
            alive.count() == others(id)
        })
    }

    /// Calls into one core at the present time.
    pub(super) fn step<R>(&mut self, id: NodeId, call: impl FnOnce(&mut Core, Instant) -> R) -> R {
        let now = self.start + self.now;
        let node = self.nodes.get_mut(&id).expect("runs");
        let result = call(&mut node.core, now);
        let outputs = node.core.take_outputs();
        self.look(id);
        for output in outputs {
            match output {
                Output::Datagram(to, payload) => self.send(id, to, payload),
                Output::Sync(peer) => self.sync(id, peer),
                Output::Address(..) => {}
            }
        }
        result
    }

    fn look(&mut self, id: NodeId) {
        let node = self.nodes.get_mut(&id).expect("runs");
        let Some(view) = node.core.take_view() else { return };
        for (peer, info) in view.iter().filter(|(_, info)| info.liveness == Liveness::Down) {
            let before = node.view.get(peer).map(|info| info.liveness);
            if before != Some(info.liveness) {
                self.downs.push((self.now, id, *peer));
            }
        }
        node.view = view;
    }

    fn send(&mut self, from: NodeId, to: NodeId, payload: Bytes) {
        self.sent += 1;
        self.sent_bytes += payload.len() as u64;
        let lost = self.rng.random_range(0.0..1.0) < self.loss;
        if !lost && !self.cuts.contains(&(from, to)) {
            let at = self.now + self.delay + self.jitter.mul_f64(self.rng.random_range(0.0..1.0));
            self.flying.insert((at, self.sent), (from, to, payload));
        }
    }

    /// A whole push/pull at one instant; fails if either direction is cut or the peer does not run.
    fn sync(&mut self, from: NodeId, to: NodeId) {
        self.syncs += 1;
        let cut = self.cuts.contains(&(from, to)) || self.cuts.contains(&(to, from));
        if cut || self.sync_fails || self.nodes.get(&to).is_none_or(|node| node.frozen.is_some()) {
            return;
        }
        let mut request = self.nodes[&from].core.sync_request();
        for _ in 0..8 {
            let body = frame::encode(&request);
            let answer =
                self.step(to, |core, now| core.handle_sync(now, from, &body)).expect("sound");
            let next =
                self.step(from, |core, now| core.sync_answer(now, to, &answer)).expect("sound");
            match next {
                Some(more) => request = more,
                None => return,
            }
        }
    }

    pub(super) fn run(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Runs until `done`, at most for `time`; tells how long it took.
    pub(super) fn run_until(&mut self, time: Duration, done: impl Fn(&Self) -> bool) -> Duration {
        let (began, end) = (self.now, self.now + time);
        while !done(self) {
            let runs = self.nodes.iter().filter(|(_, node)| node.frozen.is_none());
            let due = runs.filter_map(|(id, node)| Some((node.core.next_deadline()?, *id))).min();
            let due = due.map(|(at, id)| (at.saturating_duration_since(self.start), id));
            let arrives = self.flying.keys().next().map(|(at, _)| *at);
            let next = [due.map(|(at, _)| at), arrives].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                break;
            };
            self.now = self.now.max(next);
            if arrives == Some(next) {
                self.deliver();
            } else if let Some((_, id)) = due {
                self.step(id, Core::tick);
            }
        }
        self.now - began
    }

    fn deliver(&mut self) {
        let (_, (from, to, payload)) = self.flying.pop_first().expect("one arrives");
        match self.nodes.get_mut(&to) {
            Some(Node { frozen: Some(waiting), .. }) => waiting.push((from, payload)),
            Some(_) => self.step(to, |core, now| core.handle_datagram(now, from, &payload)),
            None => {}
        }
    }
}
