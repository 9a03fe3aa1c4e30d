//! What a service would gain if one of its tasks were on another node: by the order in which places are
//! chosen, with what moves already counted where it goes.
//!
//! Chooses nodes, not tasks. A gain of less than two is none: to move would only turn it round.

use std::collections::{BTreeMap, BTreeSet};

use swarm_model::id::{NodeId, ServiceId};
use swarm_model::placement::{Affinity, AffinityTarget, Preference};
use swarm_model::service::Service;

use super::class::Class;
use super::filter;
use super::node_info::NodeSet;
use super::taste::Level;
use crate::facts::Facts;

/// The least difference that is worth a move.
const WORTH: u64 = 2;

/// How much better off a service is, the best last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Gain {
    /// What is evened out, the outermost preference last.
    what: What,
    /// The difference before.
    pub(crate) gap: u64,
}

/// What is evened out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// All tasks of nodes.
    Tasks,
    /// Tasks of the service on nodes.
    Service,
    /// A preference, counted from the innermost one.
    Level(usize),
}

/// A move from one node to another one.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) gain: Gain,
    /// What there is too much of, and where too little.
    pub(crate) reason: String,
}

/// Nodes while tasks are moved about between them.
#[derive(Debug)]
pub(crate) struct Balance<'a> {
    facts: Facts<'a>,
    nodes: NodeSet<'a>,
    /// Services of which tasks were moved.
    classes: BTreeMap<ServiceId, Class<'a>>,
    /// Tasks that leave each node.
    leaving: BTreeMap<usize, u32>,
}

impl<'a> Balance<'a> {
    pub(crate) fn new(facts: Facts<'a>) -> Self {
        let nodes = NodeSet::new(facts.view, &BTreeSet::new());
        Self { facts, nodes, classes: BTreeMap::new(), leaving: BTreeMap::new() }
    }

    /// The node at `at`.
    pub(crate) fn node(&self, at: usize) -> NodeId {
        self.nodes.at(at).node.id
    }

    /// The move by which `service` gains most.
    pub(crate) fn best(&mut self, service: &'a Service) -> Option<Pair> {
        let known = self.classes.remove(&service.id);
        let was_moved = known.is_some();
        let class = known.unwrap_or_else(|| Class::new(self.facts, &mut self.nodes, service, 1));
        let pair = Weighing::new(&mut self.nodes, &class, &self.leaving).best();
        if was_moved {
            self.classes.insert(service.id, class);
        }
        pair
    }

    /// Counts one task of `service` where `pair` takes it.
    pub(crate) fn carry(&mut self, service: &'a Service, pair: &Pair) {
        let (facts, nodes) = (self.facts, &mut self.nodes);
        let class = self.classes.entry(service.id);
        let class = class.or_insert_with(|| Class::new(facts, nodes, service, 1));
        // The old one holds its node until the new one runs, but is not one to stay.
        class.shares[pair.from].staying = class.shares[pair.from].staying.saturating_sub(1);
        class.take(&mut self.nodes, pair.to);
        *self.leaving.entry(pair.from).or_default() += 1;
    }
}

/// One service's look at all nodes.
struct Weighing<'n, 'a> {
    nodes: &'n NodeSet<'a>,
    class: &'n Class<'a>,
    leaving: &'n BTreeMap<usize, u32>,
    /// The groups in which each node is, outermost first, of nodes that matter.
    paths: BTreeMap<usize, Vec<i64>>,
    /// Tasks of the service in each group, by the path that leads to it.
    sums: BTreeMap<Vec<i64>, u64>,
    /// Nodes where one more task would fit.
    open: Vec<usize>,
}

impl<'n, 'a> Weighing<'n, 'a> {
    fn new(
        nodes: &'n mut NodeSet<'a>,
        class: &'n Class<'a>,
        leaving: &'n BTreeMap<usize, u32>,
    ) -> Self {
        let (mut paths, mut sums, mut open) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        // Full nodes are the best ones to those who pack: nothing is uneven for them.
        let count = if class.taste.packs { 0 } else { nodes.len() };
        for at in 0..count {
            let share = &class.shares[at];
            let room = filter::check_again(&class.candidate(nodes, at)).is_ok();
            let fits = room && !share.is_shunned() && class.may_use(nodes, at);
            if !fits && share.staying == 0 {
                continue;
            }
            open.extend(fits.then_some(at));
            let mut path = Vec::with_capacity(class.taste.levels.len());
            for level in &class.taste.levels {
                path.push(match level {
                    Level::Even(attribute) => i64::from(nodes.value(*attribute, at)),
                    Level::Best(scores) => scores[at],
                });
                *sums.entry(path.clone()).or_default() += u64::from(share.staying);
            }
            paths.insert(at, path);
        }
        Self { nodes, class, leaving, paths, sums, open }
    }

    fn best(&self) -> Option<Pair> {
        let staying = |at: &&usize| self.class.shares[**at].staying > 0;
        // Of equal gains that which evens out most of what weighs less.
        let rank = |gain: Gain, from: usize, to: usize| {
            let staying = |at: usize| i64::from(self.class.shares[at].staying);
            let tasks = |at: usize| i64::try_from(self.tasks(at)).unwrap_or(i64::MAX);
            (gain, staying(from) - staying(to), tasks(from) - tasks(to))
        };
        let mut best: Option<(_, usize, usize)> = None;
        for from in self.paths.keys().filter(staying) {
            for to in self.open.iter().filter(|to| *to != from) {
                let Some(gain) = self.gain(*from, *to) else { continue };
                let rank = rank(gain, *from, *to);
                if best.is_none_or(|(known, ..)| known < rank) {
                    best = Some((rank, *from, *to));
                }
            }
        }
        let ((gain, ..), from, to) = best?;
        Some(Pair { from, to, gain, reason: self.reason(gain, from, to) })
    }

    /// What is gained by a move; `None` when nothing is, or something that weighs more gets worse.
    fn gain(&self, from: usize, to: usize) -> Option<Gain> {
        let (there, here) = (self.paths.get(&to)?, self.paths.get(&from)?);
        let levels = &self.class.taste.levels;
        for (at, level) in levels.iter().enumerate() {
            if there[at] == here[at] {
                continue;
            }
            let gap = match level {
                Level::Even(_) => {
                    let sum = |path: &[i64]| self.sums.get(path).copied().unwrap_or_default();
                    sum(&here[..=at]).saturating_sub(sum(&there[..=at]))
                }
                // Where other services are changes with every move of theirs.
                Level::Best(_) if self.follows_others() => 0,
                Level::Best(_) if there[at] > here[at] => there[at].abs_diff(here[at]).max(WORTH),
                Level::Best(_) => 0,
            };
            let what = What::Level(levels.len() - at);
            return (gap >= WORTH).then_some(Gain { what, gap });
        }
        let staying = |at: usize| u64::from(self.class.shares[at].staying);
        let gap = staying(from).saturating_sub(staying(to));
        if gap >= WORTH {
            return Some(Gain { what: What::Service, gap });
        }
        // To be one less here and one more there makes no difference to the service itself.
        let more = self.tasks(from).saturating_sub(self.tasks(to));
        (gap == 1 && more >= WORTH).then_some(Gain { what: What::Tasks, gap: more })
    }

    fn follows_others(&self) -> bool {
        self.class.service.template.placement.preferences.iter().any(
            |preference| match preference {
                Preference::Affinity(Affinity { to: AffinityTarget::Service(_), .. }) => true,
                Preference::Affinity(Affinity { to: AffinityTarget::Node(_), .. })
                | Preference::Spread(_)
                | Preference::Binpack => false,
            },
        )
    }

    /// Tasks on the node at `at`, those that leave not counted.
    fn tasks(&self, at: usize) -> u64 {
        let leaving = self.leaving.get(&at).copied().unwrap_or_default();
        u64::from(self.nodes.at(at).tasks.saturating_sub(leaving))
    }

    fn reason(&self, gain: Gain, from: usize, to: usize) -> String {
        let staying = |at: usize| self.class.shares[at].staying;
        match gain.what {
            What::Tasks => {
                let (more, less) = (self.tasks(from), self.tasks(to));
                format!("{more} tasks on the one, {less} on the other")
            }
            What::Service => {
                let (more, less) = (staying(from), staying(to));
                format!("{more} of its tasks on the one, {less} on the other")
            }
            What::Level(level) => {
                let at = self.class.taste.levels.len() - level;
                let text = |node: usize, attribute: usize| {
                    self.nodes.text(attribute, node).unwrap_or_default().into_owned()
                };
                let sum = |node: usize| {
                    let path = self.paths.get(&node).map(|path| &path[..=at]);
                    path.and_then(|path| self.sums.get(path)).copied().unwrap_or_default()
                };
                match self.class.taste.levels.get(at) {
                    Some(Level::Even(attribute)) => format!(
                        "\"{}\" has {} of its tasks, \"{}\" {}",
                        text(from, *attribute),
                        sum(from),
                        text(to, *attribute),
                        sum(to)
                    ),
                    Some(Level::Best(_)) | None => "its preferences".to_owned(),
                }
            }
        }
    }
}
