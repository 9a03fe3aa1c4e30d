//! Epochs: which recovery of its cluster a node belongs to. Nodes of different epochs never talk.
//!
//! Only the words and their order; who recovers, adopts or fences is decided elsewhere.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::command::NewNode;
use crate::id::NodeId;

/// Marks fit a JSON number exactly.
const MARK_MASK: u64 = (1 << 53) - 1;

/// One life of a cluster: it begins with `init`, and anew with each recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct Epoch {
    /// Counts recoveries, from 1.
    pub number: u64,
    /// Drawn by the recovery: two recoveries of one epoch by two survivors are two clusters.
    pub mark: u64,
}

impl Default for Epoch {
    fn default() -> Self {
        Self::FIRST
    }
}

/// What another epoch is to one's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encounter {
    /// The same cluster.
    Same,
    /// The other one was recovered after ours: ours is over.
    Newer,
    /// Ours was recovered after the other one: the other one is over.
    Older,
    /// Two survivors recovered apart from each other: neither may give way by itself.
    Rival,
}

impl Epoch {
    /// Of a cluster that was never recovered.
    pub const FIRST: Self = Self { number: 1, mark: 0 };

    /// The epoch after this one; `draw` are random bits.
    #[must_use]
    pub fn next(self, draw: u64) -> Self {
        Self { number: self.number.saturating_add(1), mark: draw & MARK_MASK }
    }

    /// What `other` is to this epoch.
    pub fn meet(self, other: Self) -> Encounter {
        match other.number.cmp(&self.number) {
            std::cmp::Ordering::Greater => Encounter::Newer,
            std::cmp::Ordering::Less => Encounter::Older,
            std::cmp::Ordering::Equal if other.mark == self.mark => Encounter::Same,
            std::cmp::Ordering::Equal => Encounter::Rival,
        }
    }

    /// Its form where there is no room for more: 16 bytes.
    pub fn to_bytes(self) -> [u8; 16] {
        (u128::from(self.number) | (u128::from(self.mark) << 64)).to_le_bytes()
    }

    /// From [`Epoch::to_bytes`].
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let both = u128::from_le_bytes(bytes);
        let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or_default();
        Self { number: half(both), mark: half(both >> 64) }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number)
    }
}

/// How a cluster goes on without its majority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The epoch that begins.
    pub epoch: Epoch,
    /// The only voter at first: a manager.
    pub founder: NodeId,
    /// The founder, if it is a new node (a backup was restored).
    pub joins: Option<NewNode>,
    /// Members that are left out for ever.
    pub lost: BTreeSet<NodeId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_recovery_wins_and_two_of_one_epoch_are_rivals() {
        let (second, rival) = (Epoch::FIRST.next(7), Epoch::FIRST.next(8));
        assert_eq!(Epoch::FIRST.meet(second), Encounter::Newer);
        assert_eq!(second.meet(Epoch::FIRST), Encounter::Older);
        assert_eq!(second.meet(second), Encounter::Same);
        assert_eq!(second.meet(rival), Encounter::Rival);
        assert_eq!(second.meet(rival.next(1)), Encounter::Newer);
    }

    #[test]
    fn golden_bytes_of_an_epoch() {
        let epoch = Epoch { number: 2, mark: 0x0102 };
        let golden = [2, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0];
        assert_eq!(epoch.to_bytes(), golden);
        assert_eq!(Epoch::from_bytes(golden), epoch);
        assert!(Epoch::FIRST.next(u64::MAX).mark < 1 << 53);
    }
}
