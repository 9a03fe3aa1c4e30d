//! What everybody in a simulation shares: who is up, which links are cut, what happened, and the
//! first thing that went wrong.
//!
//! The driver changes it, clients and the observer read it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use swarm_model::id::{NodeId, TaskId};
use swarm_node::node::Node;
use swarm_node::runtime::MockRuntime;
use tokio_util::sync::CancellationToken;

use super::clock::SimClock;
use super::trace::Trace;
use crate::history::Recorder;

/// Shared by driver, clients and observer. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct World {
    inner: Arc<Mutex<Inner>>,
    /// The wall clock.
    pub clock: Arc<SimClock>,
    /// What clients asked and were answered.
    pub history: Recorder,
}

#[derive(Debug, Default)]
struct Inner {
    seats: BTreeMap<u32, Seat>,
    /// The runtimes of machines that are gone: what was said of them stays true.
    buried: Vec<MockRuntime>,
    cuts: BTreeSet<(u32, u32)>,
    replaced: BTreeSet<u32>,
    violation: Option<String>,
    trace: Trace,
    counts: BTreeMap<&'static str, u64>,
}

/// One machine as others see it.
#[derive(Debug, Clone)]
pub struct Seat {
    /// Its node.
    pub id: NodeId,
    /// What runs on it, whether or not its daemon does.
    pub runtime: MockRuntime,
    /// Its daemon, while it is up.
    pub up: Option<Up>,
}

/// One life of a daemon.
#[derive(Debug, Clone)]
pub struct Up {
    /// The daemon.
    pub node: Node,
    /// Which life of it.
    pub life: u32,
    /// Cancelled when this life ends: whoever waits for an answer gets none.
    pub ended: CancellationToken,
}

impl World {
    /// An empty world.
    pub fn new(clock: Arc<SimClock>) -> Self {
        Self { inner: Arc::default(), clock, history: Recorder::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what happened.
    pub fn note(&self, what: &str) {
        let at = self.clock.millis();
        self.lock().trace.note(at, what);
    }

    /// Counts a fault, an operation or a check.
    pub fn count(&self, what: &'static str) {
        self.count_many(what, 1);
    }

    /// Counts several at once.
    pub fn count_many(&self, what: &'static str, number: usize) {
        *self.lock().counts.entry(what).or_default() += number as u64;
    }

    /// Everything counted.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.lock().counts.clone()
    }

    /// How often something was counted.
    pub fn counted(&self, what: &str) -> u64 {
        self.lock().counts.get(what).copied().unwrap_or(0)
    }

    /// Says that something that must never happen did. The first one counts.
    pub fn violate(&self, what: &str) {
        self.note(&format!("VIOLATION {what}"));
        self.lock().violation.get_or_insert_with(|| what.to_owned());
    }

    /// What went wrong, if something did.
    ///
    /// # Errors
    /// The first violation.
    pub fn check(&self) -> anyhow::Result<()> {
        match &self.lock().violation {
            Some(what) => Err(anyhow::anyhow!("{what}")),
            None => Ok(()),
        }
    }

    /// The trace so far: its hash and its lines.
    pub fn trace(&self) -> (u64, Vec<String>) {
        let inner = self.lock();
        (inner.trace.hash(), inner.trace.lines().to_vec())
    }

    /// All machines, by number.
    pub fn seats(&self) -> BTreeMap<u32, Seat> {
        self.lock().seats.clone()
    }

    /// The machines whose daemons are up.
    pub fn up(&self) -> Vec<(u32, Up)> {
        let inner = self.lock();
        let up = inner.seats.iter();
        up.filter_map(|(number, seat)| Some((*number, seat.up.clone()?))).collect()
    }

    /// The number of the machine of `node`.
    pub fn number(&self, node: NodeId) -> Option<u32> {
        self.lock().seats.iter().find(|(_, seat)| seat.id == node).map(|(number, _)| *number)
    }

    /// Puts a machine in, or replaces what is known of it.
    pub(super) fn seat(&self, number: u32, seat: Seat) {
        self.lock().seats.insert(number, seat);
    }

    /// A machine is gone for ever.
    pub(super) fn bury(&self, number: u32) {
        let mut inner = self.lock();
        let gone = inner.seats.remove(&number);
        inner.buried.extend(gone.map(|seat| seat.runtime));
    }

    /// Whether a program of some machine, also of one that is gone, ever said that it is well.
    pub fn was_well(&self, task: TaskId) -> bool {
        let inner = self.lock();
        let seated = inner.seats.values().map(|seat| &seat.runtime);
        seated.chain(&inner.buried).any(|runtime| runtime.was_well(task))
    }

    /// Notes that a machine's tables are not those it had before.
    pub(super) fn replaced(&self, number: u32) {
        self.lock().replaced.insert(number);
    }

    /// The machines of which that was noted since the last call.
    pub(super) fn take_replaced(&self) -> BTreeSet<u32> {
        std::mem::take(&mut self.lock().replaced)
    }

    /// The daemon of a machine is down.
    pub(super) fn down(&self, number: u32) {
        let ended = self.lock().seats.get_mut(&number).and_then(|seat| seat.up.take());
        if let Some(up) = ended {
            up.ended.cancel();
        }
    }

    /// Notes that nothing gets from one machine to the other, or that it does again.
    pub(super) fn set_cut(&self, from: u32, to: u32, cut: bool) {
        let cuts = &mut self.lock().cuts;
        if cut {
            cuts.insert((from, to));
        } else {
            cuts.remove(&(from, to));
        }
    }

    /// Whether packets get through both ways.
    pub fn connected(&self, a: u32, b: u32) -> bool {
        let cuts = &self.lock().cuts;
        !cuts.contains(&(a, b)) && !cuts.contains(&(b, a))
    }
}
