//! The status map keeps its promises whatever is lost, doubled or late.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use swarm_model::id::{Incarnation, NodeId, TaskId};

use super::ledger::{ENTRY_BYTES, Entry, MAX_TOMBSTONES};
use super::*;

const NODES: usize = 4;
const PIECE: usize = 300;

fn node(index: usize) -> NodeId {
    NodeId::from_raw(index as u128 + 1)
}

fn task(raw: u8) -> StatusKey {
    StatusKey::Task(TaskId::from_raw(raw.into()))
}

fn value(byte: u8) -> Option<Bytes> {
    Some(Bytes::from(vec![byte; usize::from(byte % 64)]))
}

fn map(index: usize) -> StatusMap {
    StatusMap::new(node(index), Incarnation::from_raw(index as u128))
}

/// Both sides of one push/pull, as the wire does it; nothing lost.
fn sync(maps: &mut [StatusMap], a: usize, b: usize, budget: usize) {
    for head in maps[a].digest() {
        maps[b].observe(head);
    }
    for delta in maps[b].deltas_for(&maps[a].digest(), budget) {
        maps[a].apply(&delta);
    }
    for head in maps[b].digest() {
        maps[a].observe(head);
    }
    for delta in maps[a].deltas_for(&maps[b].digest(), budget) {
        maps[b].apply(&delta);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write {
        at: usize,
        key: u8,
        value: Option<u8>,
    },
    Restart {
        at: usize,
        incarnation: u8,
    },
    /// Sends what `from` knows about `about` after `back` versions before its head, some pieces lost.
    Push {
        from: usize,
        to: usize,
        about: usize,
        back: u64,
        lost: u8,
    },
    /// Delivers something sent before, again.
    Replay {
        which: usize,
        to: usize,
    },
    Sync {
        a: usize,
        b: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let at = 0..NODES;
    prop_oneof![
        5 => (at.clone(), 0u8..12, any::<Option<u8>>())
            .prop_map(|(at, key, value)| Step::Write { at, key, value }),
        1 => (at.clone(), any::<u8>()).prop_map(|(at, incarnation)| Step::Restart { at, incarnation }),
        5 => (at.clone(), at.clone(), at.clone(), 0u64..12, any::<u8>())
            .prop_map(|(from, to, about, back, lost)| Step::Push { from, to, about, back, lost }),
        2 => (any::<usize>(), at.clone()).prop_map(|(which, to)| Step::Replay { which, to }),
        2 => (at.clone(), at).prop_map(|(a, b)| Step::Sync { a, b }),
    ]
}

#[derive(Default)]
struct Heads(BTreeMap<(usize, NodeId), (Life, u64)>);

impl Heads {
    /// What is known about others never goes back.
    fn check(&mut self, maps: &[StatusMap]) {
        for (holder, map) in maps.iter().enumerate() {
            for head in map.digest().into_iter().filter(|head| head.node != node(holder)) {
                let now = (head.life, head.version);
                let before = self.0.insert((holder, head.node), now);
                assert!(before.is_none_or(|before| before <= now), "{holder} went back: {head:?}");
            }
        }
    }

    fn restarted(&mut self, holder: usize) {
        self.0.retain(|(at, _), _| *at != holder);
    }
}

fn run(steps: Vec<Step>) -> Vec<StatusMap> {
    let mut maps: Vec<_> = (0..NODES).map(map).collect();
    let mut sent: Vec<Delta> = Vec::new();
    let mut heads = Heads::default();
    let mut lives = NODES as u128;
    for step in steps {
        match step {
            Step::Write { at, key, value: byte } => {
                maps[at].write(task(key), byte.and_then(value)).expect("small");
            }
            Step::Restart { at, incarnation } => {
                // In any order, but never drawn twice.
                lives += 1;
                let incarnation = u128::from(incarnation) << 64 | lives;
                maps[at] = StatusMap::new(node(at), Incarnation::from_raw(incarnation));
                heads.restarted(at);
            }
            Step::Push { from, to, about, back, lost } => {
                let head = maps[from].head(node(about)).map_or(0, |head| head.version);
                let base = head.saturating_sub(back);
                let pieces = maps[from].pieces(node(about), base, PIECE).unwrap_or_default();
                for (index, delta) in pieces.into_iter().enumerate() {
                    if lost >> (index % 8) & 1 == 0 {
                        maps[to].apply(&delta);
                    }
                    sent.push(delta);
                }
            }
            Step::Replay { which, to } => {
                if let Some(delta) = sent.get(which % sent.len().max(1)) {
                    maps[to].apply(delta);
                }
            }
            Step::Sync { a, b } if a != b => sync(&mut maps, a, b, 500),
            Step::Sync { .. } => {}
        }
        heads.check(&maps);
    }
    maps
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn after_enough_syncs_every_copy_equals_its_original(steps in prop::collection::vec(step(), 0..120)) {
        let mut maps = run(steps);
        for _ in 0..2 * NODES {
            for a in 0..NODES {
                for b in (0..NODES).filter(|b| *b != a) {
                    sync(&mut maps, a, b, 500);
                }
            }
        }
        for holder in &maps {
            for (index, original) in maps.iter().enumerate() {
                prop_assert_eq!(holder.view(node(index)), original.view(node(index)));
                prop_assert_eq!(holder.head(node(index)), original.head(node(index)));
            }
        }
    }

    #[test]
    fn pieces_fit_and_add_up_to_the_whole(keys in prop::collection::vec((0u8..40, any::<Option<u8>>()), 1..80), base in 0u64..80) {
        let mut writer = map(0);
        let mut reader = map(1);
        for (index, (key, byte)) in keys.iter().enumerate() {
            if index as u64 == base {
                for delta in writer.deltas_for(&[], usize::MAX) {
                    reader.apply(&delta);
                }
            }
            writer.write(task(*key), byte.and_then(value)).expect("small");
        }
        let known = reader.head(node(0)).map_or(0, |head| head.version);
        for delta in writer.pieces(node(0), known, PIECE).expect("all entries are small") {
            prop_assert!(delta.cost() <= PIECE);
            prop_assert_ne!(reader.apply(&delta), Applied::Gap);
        }
        prop_assert_eq!(reader.view(node(0)), writer.view(node(0)));
    }
}

#[test]
fn a_restarted_node_wins_over_its_earlier_life_as_soon_as_it_hears_of_it() {
    let mut maps = vec![StatusMap::new(node(0), Incarnation::from_raw(u128::MAX)), map(1)];
    maps[0].write(task(1), value(1)).expect("small");
    sync(&mut maps, 0, 1, usize::MAX);
    maps[0] = StatusMap::new(node(0), Incarnation::from_raw(0));
    maps[0].write(task(2), value(2)).expect("small");
    sync(&mut maps, 0, 1, usize::MAX);
    assert_eq!(maps[1].view(node(0)).keys().collect::<Vec<_>>(), [&task(2)]);
}

#[test]
fn a_map_takes_no_more_than_its_limit_and_keeps_what_it_had() {
    let mut map = map(0);
    let half = Bytes::from(vec![0; MAX_NODE_BYTES / 2 - ENTRY_BYTES]);
    map.write(task(1), Some(half.clone())).expect("half");
    map.write(task(2), Some(half.clone())).expect("the other half");
    let refused = map.write(task(3), Some(Bytes::new())).expect_err("full");
    assert_eq!(refused, StatusError::Full { wanted: MAX_NODE_BYTES + ENTRY_BYTES });
    assert_eq!(map.view(node(0)).len(), 2);
    map.write(task(1), None).expect("removing always works");
    map.write(task(3), Some(half)).expect("there is room again");
}

#[test]
fn old_removals_are_dropped_and_a_peer_that_missed_them_gets_the_whole_map() {
    let mut maps = vec![map(0), map(1)];
    let key = |raw: usize| StatusKey::Task(TaskId::from_raw(raw as u128));
    maps[0].write(key(0), value(1)).expect("small");
    maps[0].write(key(1), value(1)).expect("small");
    sync(&mut maps, 0, 1, usize::MAX);
    maps[0].write(key(1), None).expect("removal");
    for raw in 2..2 + 2 * MAX_TOMBSTONES {
        maps[0].write(key(raw), value(1)).expect("small");
        maps[0].write(key(raw), None).expect("removal");
    }
    let lagging = maps[1].digest();
    let delta = maps[0].deltas_for(&lagging, usize::MAX).remove(0);
    assert_eq!(delta.base, 0);
    assert_eq!(delta.entries.len(), 1 + MAX_TOMBSTONES);
    sync(&mut maps, 0, 1, usize::MAX);
    assert_eq!(maps[1].view(node(0)).keys().collect::<Vec<_>>(), [&key(0)]);
}

#[test]
fn made_up_deltas_change_nothing() {
    let mut map = map(1);
    let life = Life { epoch: 1, incarnation: Incarnation::from_raw(9) };
    let entry = |version, len| Entry { key: task(1), version, value: Some(vec![0; len].into()) };
    let delta = |base, version, floor, entries| Delta {
        node: node(0),
        life,
        base,
        version,
        floor,
        entries,
    };
    let cases = [
        delta(0, 1, 0, vec![entry(1, MAX_NODE_BYTES)]),
        delta(0, 1, 0, vec![entry(2, 1)]),
        delta(2, 1, 0, vec![]),
        delta(0, 1, 2, vec![]),
        Delta { life: Life { epoch: u64::MAX, ..life }, ..delta(0, 1, 0, vec![]) },
    ];
    for case in cases {
        assert_eq!(map.apply(&case), Applied::Refused, "{case:?}");
        assert_eq!(map.head(node(0)), None);
    }
    assert_eq!(map.apply(&delta(1, 2, 0, vec![entry(2, 1)])), Applied::Gap);
}

#[test]
fn a_forgotten_node_stays_forgotten() {
    let mut maps = vec![map(0), map(1)];
    maps[0].write(task(1), value(7)).expect("small");
    sync(&mut maps, 0, 1, usize::MAX);
    let seen = maps[1].revision();
    maps[1].forget(node(0));
    assert_eq!(maps[1].changed_since(seen), [(node(0), StatusView::default())]);
    sync(&mut maps, 0, 1, usize::MAX);
    assert!(maps[1].view(node(0)).is_empty());
}

#[test]
fn a_reader_gets_only_what_changed_since_it_looked() {
    let mut map = map(0);
    map.write(task(1), value(7)).expect("small");
    let seen = map.revision();
    assert!(map.changed_since(seen).is_empty());
    assert!(!map.write(task(1), value(7)).expect("small"), "the same value is no change");
    map.write(task(1), None).expect("removal");
    assert_eq!(map.changed_since(seen), [(node(0), StatusView::default())]);
}

#[test]
fn nodes_that_somebody_made_up_do_not_fill_the_memory() {
    let mut map = StatusMap::new(NodeId::from_raw(1), Incarnation::from_raw(1));
    let mut taken = 0;
    for raw in 2..2000 {
        let mut liar = StatusMap::new(NodeId::from_raw(raw), Incarnation::from_raw(raw));
        let value = Bytes::from(vec![0; MAX_NODE_BYTES - 1000]);
        liar.write(StatusKey::Resources, Some(value)).expect("fits one node");
        let deltas = liar.deltas_for(&[], usize::MAX);
        taken += deltas.iter().filter(|delta| map.apply(delta) == Applied::Fresh).count();
    }
    assert!((400..600).contains(&taken), "{taken} copies of 63 KiB were taken");
}
