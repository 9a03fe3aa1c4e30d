//! M: term and log of a node never go back, not even over a power cut; what it applied never goes
//! back within one life.
//!
//! A node may show a term or a record a moment before its own disk has it: it has told nobody, or a
//! majority of others has it. So a power cut is held against what was shown a few looks before it.

use std::collections::{BTreeMap, VecDeque};

use super::Verdict;

/// How many looks it takes until what was shown must be on disk: more than two syncs.
const LOOKS_TO_DISK: usize = 3;

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Which life of its daemon.
    pub life: u32,
    /// Its term.
    pub term: u64,
    /// The newest record in its view.
    pub applied: u64,
    /// The newest record of its log.
    pub last_log: u64,
}

/// Where every node stood last.
#[derive(Debug, Default)]
pub struct Progress {
    nodes: BTreeMap<u32, Past>,
}

/// What one node has shown.
#[derive(Debug, Default)]
struct Past {
    recent: VecDeque<Seen>,
    durable: Seen,
}

impl Progress {
    /// Node `number` lost its replica: it owes what the others grant it, not what it had.
    pub fn forget(&mut self, number: u32) {
        self.nodes.remove(&number);
    }

    /// Node `number` stands at `now`.
    ///
    /// # Errors
    /// When it stood further before.
    pub fn see(&mut self, number: u32, now: Seen) -> Verdict {
        let past = self.nodes.entry(number).or_default();
        if past.recent.back().is_some_and(|last| last.life != now.life) {
            past.recent.clear();
            if now.last_log < past.durable.applied {
                return Err(format!(
                    "M: n{number} had applied revision {}, after a restart its log ends at {}",
                    past.durable.applied, now.last_log
                ));
            }
        }
        let last = past
            .recent
            .back()
            .copied()
            .unwrap_or(Seen { term: past.durable.term, ..Seen::default() });
        if now.term < last.term {
            return Err(format!("M: n{number} went back from term {} to {}", last.term, now.term));
        }
        if now.applied < last.applied {
            return Err(format!(
                "M: n{number} went back from revision {} to {}",
                last.applied, now.applied
            ));
        }
        past.recent.push_back(now);
        if past.recent.len() > LOOKS_TO_DISK
            && let Some(settled) = past.recent.pop_front()
        {
            past.durable.term = past.durable.term.max(settled.term);
            past.durable.applied = past.durable.applied.max(settled.applied);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(life: u32, term: u64, applied: u64, last_log: u64) -> Seen {
        Seen { life, term, applied, last_log }
    }

    fn after(looks: usize) -> Progress {
        let mut progress = Progress::default();
        for _ in 0..looks {
            assert_eq!(progress.see(1, seen(1, 3, 7, 9)), Ok(()));
        }
        progress
    }

    #[test]
    fn going_back_within_a_life_is_found() {
        assert!(after(1).see(1, seen(1, 2, 7, 9)).is_err(), "the term went back");
        assert!(after(1).see(1, seen(1, 3, 6, 9)).is_err(), "the state went back");
    }

    #[test]
    fn a_forgotten_term_or_record_is_found_once_it_must_be_on_disk() {
        assert_eq!(after(1).see(1, seen(2, 2, 5, 5)), Ok(()), "it was shown too shortly");
        assert_eq!(after(9).see(1, seen(2, 3, 5, 7)), Ok(()), "un-applied records may go");
        assert!(after(9).see(1, seen(2, 2, 5, 7)).is_err(), "a vote was forgotten");
        assert!(after(9).see(1, seen(2, 3, 3, 6)).is_err(), "a committed record was lost");
    }
}
