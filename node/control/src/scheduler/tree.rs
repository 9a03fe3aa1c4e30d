//! Picking: nodes in a tree of what the service prefers, the best leaf on top.
//!
//! At a level of values the one with the fewest tasks of the service comes first, at a level of scores
//! the highest one; within a group the node with the lowest rank. Knows nothing of resources: the
//! caller says whether a node still fits, and how it ranks by now.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::node_info::NodeSet;
use super::taste::Level;

/// How a node ranks within its group; lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// Tasks of the service failed there again and again: last choice.
    pub(super) shunned: bool,
    /// Tasks of the service there; for those who pack, how empty it is.
    pub(super) first: u64,
    /// Tasks there; for those who pack, the fewer the worse.
    pub(super) second: u64,
    /// Its position among all nodes.
    pub(super) at: usize,
}

/// A node to be put into the tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// How it ranks.
    pub(super) rank: Rank,
    /// Tasks of the service there.
    pub(super) service_tasks: u32,
    /// All tasks there.
    pub(super) tasks: u32,
    /// Whether it may be picked; if not, its tasks still count for its group.
    pub(super) fits: bool,
}

/// What the caller knows of a node when it is about to be picked: `None` when it has no room left.
pub(super) type Look<'l> = dyn Fn(usize) -> Option<Rank> + 'l;

/// Nodes by preference.
#[derive(Debug)]
pub(super) enum Tree {
    /// Nodes that are alike in everything preferred.
    Leaf(BinaryHeap<Reverse<Rank>>),
    /// Groups that differ in one preference.
    Branch(BinaryHeap<Group>),
}

/// The nodes that are alike in one preference.
#[derive(Debug)]
pub(super) struct Group {
    /// Less is better: tasks of the service there (and all tasks, a thousandfold, by node), or the
    /// score turned round.
    rank: (i64, u64),
    /// Among the groups of its branch, in the order of values: breaks ties.
    at: usize,
    /// Whether tasks of the service make it worse.
    even: bool,
    tree: Tree,
}

impl Tree {
    /// The tree of `entries` by `levels`, outermost first.
    pub(super) fn new(nodes: &mut NodeSet<'_>, entries: Vec<Entry>, levels: &[Level]) -> Self {
        let Some((level, inner)) = levels.split_first() else {
            let fitting = entries.into_iter().filter(|entry| entry.fits);
            return Self::Leaf(fitting.map(|entry| Reverse(entry.rank)).collect());
        };
        let mut groups = match level {
            Level::Even(attribute) => {
                let key = |entry: &Entry| nodes.value(*attribute, entry.rank.at);
                let mut groups = grouped(entries, key);
                groups.sort_by_cached_key(|group| {
                    group.first().and_then(|entry| nodes.text(*attribute, entry.rank.at))
                });
                groups
            }
            Level::Best(scores) => grouped(entries, |entry| Reverse(scores[entry.rank.at])),
        };
        groups.retain(|group| group.iter().any(|entry| entry.fits));
        let group = |(at, entries): (usize, Vec<Entry>)| {
            let (even, rank) = match level {
                Level::Even(_) => (true, load(&entries)),
                Level::Best(scores) => {
                    let score = entries.first().map_or(0, |entry| scores[entry.rank.at]);
                    (false, (-score, 0))
                }
            };
            Group { rank, at, even, tree: Self::new(nodes, entries, inner) }
        };
        Self::Branch(groups.into_iter().enumerate().map(group).collect())
    }

    /// The best node that still fits and is not `avoid`; counts the new task there.
    pub(super) fn pick(&mut self, avoid: Option<usize>, look: &Look<'_>) -> Option<usize> {
        match self {
            Self::Leaf(nodes) => pick_node(nodes, avoid, look),
            Self::Branch(groups) => {
                let mut passed = Vec::new();
                let mut picked = None;
                while picked.is_none()
                    && let Some(mut group) = groups.pop()
                {
                    picked = group.tree.pick(avoid, look);
                    group.rank.0 += i64::from(group.even && picked.is_some());
                    // One without room is left out for good, unless just one node is to be avoided.
                    if picked.is_some() || avoid.is_some() {
                        passed.push(group);
                    }
                }
                groups.extend(passed);
                picked
            }
        }
    }
}

/// Entries with the same key together, in the order of keys.
fn grouped<K: Ord + Copy>(
    entries: Vec<Entry>,
    mut key: impl FnMut(&Entry) -> K,
) -> Vec<Vec<Entry>> {
    let mut keyed: Vec<(K, Entry)> =
        entries.into_iter().map(|entry| (key(&entry), entry)).collect();
    keyed.sort_by_key(|(key, _)| *key);
    keyed
        .chunk_by(|(left, _), (right, _)| left == right)
        .map(|group| group.iter().map(|(_, entry)| *entry).collect())
        .collect()
}

/// Tasks of the service in a group, and all tasks, a thousandfold, by node.
fn load(entries: &[Entry]) -> (i64, u64) {
    let service_tasks = entries.iter().map(|entry| i64::from(entry.service_tasks)).sum();
    let tasks: u64 = entries.iter().map(|entry| u64::from(entry.tasks)).sum();
    let nodes = u64::try_from(entries.len()).unwrap_or(u64::MAX).max(1);
    (service_tasks, tasks * 1000 / nodes)
}

/// The best of `nodes`. A rank that is out of date is put right when it comes up, and a full node is
/// left out for good. Ranks may only rise, but for that of a node that was just picked here.
fn pick_node(
    nodes: &mut BinaryHeap<Reverse<Rank>>,
    avoid: Option<usize>,
    look: &Look<'_>,
) -> Option<usize> {
    let mut avoided = None;
    let mut picked = None;
    while picked.is_none()
        && let Some(Reverse(rank)) = nodes.pop()
    {
        match look(rank.at) {
            None => {}
            Some(now) if now != rank => nodes.push(Reverse(now)),
            Some(_) if avoid == Some(rank.at) => avoided = Some(rank),
            Some(_) => picked = Some(rank),
        }
    }
    nodes.extend(avoided.map(Reverse));
    let rank = picked?;
    // Out of date as soon as the caller has taken it: put right when it comes up again.
    nodes.push(Reverse(rank));
    Some(rank.at)
}

impl Ord for Group {
    /// The best one is the greatest: on top of a heap.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.rank, other.at).cmp(&(self.rank, self.at))
    }
}

impl PartialOrd for Group {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Group {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Group {}
