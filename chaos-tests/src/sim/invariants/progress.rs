//! M: term and log of a node never go back, not even over a power cut; what it applied never goes
//! back within one life.

use std::collections::BTreeMap;

use super::Verdict;

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    nodes: BTreeMap<u32, Seen>,
}

impl Progress {
    /// Node `number` stands at `now`.
    ///
    /// # Errors
    /// When it stood further before.
    pub fn see(&mut self, number: u32, now: Seen) -> Verdict {
        let Some(before) = self.nodes.insert(number, now) else { return Ok(()) };
        if now.term < before.term {
            return Err(format!(
                "M: n{number} went back from term {} to {}",
                before.term, now.term
            ));
        }
        if now.life == before.life {
            if now.applied < before.applied {
                return Err(format!(
                    "M: n{number} went back from revision {} to {}",
                    before.applied, now.applied
                ));
            }
        } else if now.last_log < before.applied {
            return Err(format!(
                "M: n{number} had applied revision {}, after a restart its log ends at {}",
                before.applied, now.last_log
            ));
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

    #[test]
    fn a_forgotten_term_or_record_is_found() {
        let mut progress = Progress::default();
        assert_eq!(progress.see(1, seen(1, 3, 7, 9)), Ok(()));
        assert_eq!(progress.see(1, seen(2, 3, 5, 7)), Ok(()), "un-applied records may go");
        assert!(progress.see(1, seen(2, 2, 5, 7)).is_err(), "a vote was forgotten");
        assert!(progress.see(1, seen(2, 3, 4, 7)).is_err(), "the state went back");
        assert!(progress.see(1, seen(3, 3, 3, 3)).is_err(), "a committed record was lost");
    }
}
