//! Spreading: nodes in a tree of the service's preferences, the best leaf on top.
//!
//! At each level the value with the fewest tasks of the service comes first; within a group the
//! node with the fewest tasks of the service, then with the fewest tasks, then the lowest id.
//! Knows nothing of resources: the caller says whether a node still fits.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use swarm_model::node::Node;
use swarm_model::placement::Preference;

/// How a node ranks within its group; lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    /// Tasks of the service failed there again and again: last choice.
    pub(crate) shunned: bool,
    /// Tasks of the service there.
    pub(crate) service_tasks: u32,
    /// Tasks there.
    pub(crate) tasks: u32,
    /// Its position among all nodes.
    pub(crate) at: usize,
}

/// A node to be put into the tree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    /// The node.
    pub(crate) node: &'a Node,
    /// How it ranks.
    pub(crate) rank: Rank,
    /// Whether it may be picked; if not, its tasks still count for its group.
    pub(crate) fits: bool,
}

/// What the caller knows of a node when it is about to be picked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Now {
    /// It has no room left.
    Full,
    /// It has so many tasks.
    Tasks(u32),
}

/// Nodes by preference.
#[derive(Debug)]
pub(crate) enum Tree {
    /// Nodes that are alike in every preferred attribute.
    Leaf(BinaryHeap<Reverse<Rank>>),
    /// One group for each value of an attribute.
    Branch(Vec<Group>),
}

/// The nodes with one value of an attribute.
#[derive(Debug)]
pub(crate) struct Group {
    /// Tasks of the service there.
    service_tasks: u64,
    /// All tasks there, a thousandfold, by node: breaks ties.
    load: u64,
    tree: Tree,
}

impl Tree {
    /// The tree of `entries` by `preferences`, outermost first.
    pub(crate) fn new(entries: &[Entry<'_>], preferences: &[Preference]) -> Self {
        let Some((Preference::Spread(attribute), inner)) = preferences.split_first() else {
            let fitting = entries.iter().filter(|entry| entry.fits);
            return Self::Leaf(fitting.map(|entry| Reverse(entry.rank)).collect());
        };
        let mut values: BTreeMap<Option<String>, Vec<Entry<'_>>> = BTreeMap::new();
        for entry in entries {
            values.entry(attribute.of(entry.node)).or_default().push(*entry);
        }
        Self::Branch(values.values().map(|group| Group::new(group, inner)).collect())
    }

    /// The best node that still fits and is not `avoid`; counts the new task there.
    pub(crate) fn pick(
        &mut self,
        avoid: Option<usize>,
        look: &dyn Fn(usize) -> Now,
    ) -> Option<usize> {
        match self {
            Self::Leaf(nodes) => pick_node(nodes, avoid, look),
            Self::Branch(groups) => {
                let mut order: Vec<_> =
                    groups.iter().enumerate().map(|(at, group)| (group.rank(), at)).collect();
                order.sort_unstable();
                order.into_iter().find_map(|(_, at)| groups[at].pick(avoid, look))
            }
        }
    }
}

impl Group {
    fn new(entries: &[Entry<'_>], preferences: &[Preference]) -> Self {
        let sum = |count: fn(&Rank) -> u32| -> u64 {
            entries.iter().map(|entry| u64::from(count(&entry.rank))).sum()
        };
        let nodes = u64::try_from(entries.len()).unwrap_or(u64::MAX).max(1);
        Self {
            service_tasks: sum(|rank| rank.service_tasks),
            load: sum(|rank| rank.tasks) * 1000 / nodes,
            tree: Tree::new(entries, preferences),
        }
    }

    fn rank(&self) -> (u64, u64) {
        (self.service_tasks, self.load)
    }

    fn pick(&mut self, avoid: Option<usize>, look: &dyn Fn(usize) -> Now) -> Option<usize> {
        let picked = self.tree.pick(avoid, look)?;
        self.service_tasks += 1;
        Some(picked)
    }
}

/// The best of `nodes`. Ranks only rise and room only shrinks while tasks are placed, so a rank
/// that is out of date is put right when it comes up, and a full node is left out for good.
fn pick_node(
    nodes: &mut BinaryHeap<Reverse<Rank>>,
    avoid: Option<usize>,
    look: &dyn Fn(usize) -> Now,
) -> Option<usize> {
    let mut avoided = None;
    let mut picked = None;
    while picked.is_none()
        && let Some(Reverse(rank)) = nodes.pop()
    {
        match look(rank.at) {
            Now::Full => {}
            Now::Tasks(tasks) if tasks != rank.tasks => nodes.push(Reverse(Rank { tasks, ..rank })),
            Now::Tasks(_) if avoid == Some(rank.at) => avoided = Some(rank),
            Now::Tasks(_) => picked = Some(rank),
        }
    }
    nodes.extend(avoided.map(Reverse));
    let rank = picked?;
    nodes.push(Reverse(Rank {
        service_tasks: rank.service_tasks + 1,
        tasks: rank.tasks + 1,
        ..rank
    }));
    Some(rank.at)
}
