//! One node's status map, as written by that node or as copied from it.
//!
//! Entries carry versions from one counter; removals stay as tombstones for a while, and `floor` says up
//! to which version removals may have been dropped. It never decides who is right about whom: one writer.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use swarm_model::id::NodeId;

use super::{Life, MAX_NODE_BYTES, StatusError, StatusKey, StatusView};

/// Removals kept for peers that lag; who lags more gets the whole map.
pub(crate) const MAX_TOMBSTONES: usize = 256;
/// What an entry costs besides its value: key, version, tags (their longest wire form, rounded up).
pub(crate) const ENTRY_BYTES: usize = 40;
/// What a delta costs besides its entries.
const DELTA_BYTES: usize = 96;

/// One key's newest value; `None` means removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) key: StatusKey,
    pub(crate) version: u64,
    pub(crate) value: Option<Bytes>,
}

/// What one node wrote after `base` up to `version`; with `base` 0, all of it. Removals up to `floor` are
/// not told: who knows less than that has to start over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Delta {
    pub(crate) node: NodeId,
    pub(crate) life: Life,
    pub(crate) base: u64,
    pub(crate) version: u64,
    pub(crate) floor: u64,
    pub(crate) entries: Vec<Entry>,
}

/// What became of a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It brought news.
    Fresh,
    /// Nothing new in it.
    Stale,
    /// Something before it is missing: ask the sender for it.
    Gap,
    /// It contradicts itself or is too large. Nothing changed.
    Refused,
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    life: Life,
    version: u64,
    floor: u64,
    entries: BTreeMap<StatusKey, (u64, Option<Bytes>)>,
    bytes: usize,
}

fn cost(value: Option<&Bytes>) -> usize {
    value.map_or(0, |value| ENTRY_BYTES + value.len())
}

impl Delta {
    /// Bytes on the wire, at most.
    pub(crate) fn cost(&self) -> usize {
        let values = self.entries.iter().map(|entry| entry.value.as_ref().map_or(0, Bytes::len));
        DELTA_BYTES + self.entries.len() * ENTRY_BYTES + values.sum::<usize>()
    }

    fn is_consistent(&self) -> bool {
        let within = |entry: &Entry| entry.version > self.base && entry.version <= self.version;
        let covered = self.base == 0 || self.floor <= self.base;
        covered
            && self.base <= self.version
            && self.floor <= self.version
            && self.entries.iter().all(within)
    }
}

impl Ledger {
    pub(crate) fn new(life: Life) -> Self {
        Self { life, version: 0, floor: 0, entries: BTreeMap::new(), bytes: 0 }
    }

    /// A copy of a map not seen before.
    ///
    /// # Errors
    /// What else became of the delta.
    pub(crate) fn from_delta(delta: &Delta) -> Result<Self, Applied> {
        let mut ledger = Self::new(delta.life);
        match (delta.base, ledger.merge(delta)) {
            (0, true) => Ok(ledger),
            (_, true) => Err(Applied::Gap),
            (_, false) => Err(Applied::Refused),
        }
    }

    pub(crate) fn life(&self) -> Life {
        self.life
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// What its values cost.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// True if nothing is said at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    pub(crate) fn view(&self) -> StatusView {
        let live = self.entries.iter().filter_map(|(key, (_, value))| Some((*key, value.clone()?)));
        Arc::new(live.collect())
    }

    /// The writer's own change. True if it was one.
    pub(crate) fn write(
        &mut self,
        key: StatusKey,
        value: Option<Bytes>,
    ) -> Result<bool, StatusError> {
        let old = self.entries.get(&key).and_then(|(_, value)| value.as_ref());
        if old == value.as_ref() {
            return Ok(false);
        }
        let wanted = self.bytes - cost(old) + cost(value.as_ref());
        if wanted > MAX_NODE_BYTES && value.is_some() {
            return Err(StatusError::Full { wanted });
        }
        self.version += 1;
        self.put(key, self.version, value);
        self.prune();
        Ok(true)
    }

    /// The writer goes on in a life above `other`, which an earlier process of the same node had.
    pub(crate) fn rise_above(&mut self, other: Life) {
        self.life.epoch = self.life.epoch.max(other.epoch) + 1;
    }

    fn put(&mut self, key: StatusKey, version: u64, value: Option<Bytes>) {
        self.bytes += cost(value.as_ref());
        if let Some((_, old)) = self.entries.insert(key, (version, value)) {
            self.bytes -= cost(old.as_ref());
        }
    }

    /// Drops the oldest removals beyond the limit.
    fn prune(&mut self) {
        let removed = self.entries.iter().filter(|(_, (_, value))| value.is_none());
        let mut removed: Vec<_> = removed.map(|(key, (version, _))| (*version, *key)).collect();
        if removed.len() <= MAX_TOMBSTONES {
            return;
        }
        removed.sort_unstable();
        for (version, key) in removed.drain(..removed.len() - MAX_TOMBSTONES) {
            self.entries.remove(&key);
            self.floor = self.floor.max(version);
        }
    }

    /// Entries after `base`, oldest first.
    fn after(&self, base: u64) -> Vec<Entry> {
        let newer = self.entries.iter().filter(|(_, (version, _))| *version > base);
        let entry = |(key, (version, value)): (&StatusKey, &(u64, Option<Bytes>))| Entry {
            key: *key,
            version: *version,
            value: value.clone(),
        };
        let mut entries: Vec<Entry> = newer.map(entry).collect();
        entries.sort_unstable_by_key(|entry| entry.version);
        entries
    }

    /// What a copy at `base` lacks; the whole map if removals since may have been dropped here.
    pub(crate) fn delta(&self, node: NodeId, base: u64) -> Delta {
        let base = if base < self.floor { 0 } else { base };
        let entries = self.after(base);
        Delta { node, life: self.life, base, version: self.version, floor: self.floor, entries }
    }

    /// The same in pieces; see [`super::StatusMap::pieces`].
    pub(crate) fn pieces(&self, node: NodeId, base: u64, piece: usize) -> Option<Vec<Delta>> {
        let whole = self.delta(node, base);
        if whole.cost() <= piece {
            return Some(vec![whole]);
        }
        if whole.base == 0 && whole.floor > 0 {
            return None;
        }
        let start = |base| Delta { base, version: base, entries: Vec::new(), ..whole.clone() };
        let mut pieces = vec![start(whole.base)];
        for entry in &whole.entries {
            let last = pieces.last_mut().expect("starts with one");
            let fits =
                |delta: &Delta| delta.cost() + cost(entry.value.as_ref()).max(ENTRY_BYTES) <= piece;
            let into = if fits(last) {
                last
            } else if last.entries.is_empty() {
                return None;
            } else {
                let next = start(last.version);
                pieces.push(next);
                pieces.last_mut().filter(|delta| fits(delta))?
            };
            into.version = entry.version;
            into.entries.push(entry.clone());
        }
        // A version whose entry was written again since has no entry: the last piece ends at the top.
        pieces.last_mut().expect("starts with one").version = whole.version;
        for delta in &mut pieces {
            delta.floor = delta.floor.min(delta.version);
        }
        Some(pieces)
    }

    /// A copy takes in a delta about the same node.
    pub(crate) fn apply(&mut self, delta: &Delta) -> Applied {
        let stale =
            delta.life < self.life || (delta.life == self.life && delta.version <= self.version);
        if stale {
            return Applied::Stale;
        }
        let same = delta.life == self.life;
        if delta.base > 0 && !(same && delta.base <= self.version) {
            return Applied::Gap;
        }
        // A partial delta never has a floor above its base: the whole map is sent then.
        let adds = same && self.version >= delta.base.max(delta.floor);
        let mut next = if adds { self.clone() } else { Self::new(delta.life) };
        if !next.merge(delta) {
            return Applied::Refused;
        }
        *self = next;
        Applied::Fresh
    }

    /// False if the delta is not sound; then this ledger must be thrown away.
    fn merge(&mut self, delta: &Delta) -> bool {
        if !delta.is_consistent() {
            return false;
        }
        for entry in &delta.entries {
            let known = self.entries.get(&entry.key).is_some_and(|(at, _)| *at >= entry.version);
            if !known {
                self.put(entry.key, entry.version, entry.value.clone());
            }
        }
        if self.version == 0 {
            self.floor = delta.floor;
        }
        self.version = delta.version;
        self.prune();
        self.bytes <= MAX_NODE_BYTES
    }
}
