//! O: at most one task a slot runs among nodes that the leader can reach, but for the moment that it
//! takes to tell the older one to stop. Without a majority no leader can tell anything.

use std::collections::{BTreeMap, BTreeSet};

use swarm_model::id::{ServiceId, TaskId};
use swarm_model::task::Slot;

/// How long two may overlap: a stop signal on its way, its grace, and a lost session found again.
const OVERLAP_MAX_MS: u64 = 15_000;

/// A task that runs on a machine that the leader reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Running {
    /// Its service.
    pub service: ServiceId,
    /// Its slot.
    pub slot: Slot,
    /// The task.
    pub task: TaskId,
    /// Where.
    pub machine: u32,
}

/// Since when slots are doubly filled.
#[derive(Debug, Default)]
pub struct Slots {
    doubles: BTreeMap<(TaskId, TaskId), u64>,
}

impl Slots {
    /// What runs `at` this millisecond on all machines that the leader reaches.
    ///
    /// # Errors
    /// When two tasks of one slot have run beside each other for too long.
    pub fn see(&mut self, at: u64, running: &BTreeSet<Running>) -> Result<(), String> {
        let mut still = BTreeMap::new();
        let pairs = running.iter().zip(running.iter().skip(1));
        for (a, b) in pairs.filter(|(a, b)| (a.service, a.slot) == (b.service, b.slot)) {
            let pair = (a.task, b.task);
            let since = self.doubles.get(&pair).copied().unwrap_or(at);
            if at.saturating_sub(since) > OVERLAP_MAX_MS {
                return Err(format!(
                    "O: slot {} of service {} runs twice for {} ms: {} on n{}, {} on n{}",
                    a.slot,
                    a.service.short(),
                    at - since,
                    a.task.short(),
                    a.machine,
                    b.task.short(),
                    b.machine
                ));
            }
            still.insert(pair, since);
        }
        self.doubles = still;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(slot: u32, task: u128, machine: u32) -> Running {
        Running {
            service: ServiceId::from_raw(1),
            slot: Slot::Replica(slot),
            task: TaskId::from_raw(task),
            machine,
        }
    }

    #[test]
    fn a_lasting_double_is_found_and_a_short_one_is_not() {
        let mut slots = Slots::default();
        let double = BTreeSet::from([running(1, 1, 1), running(1, 2, 2), running(2, 3, 1)]);
        let single = BTreeSet::from([running(1, 2, 2), running(2, 3, 1)]);
        assert_eq!(slots.see(0, &double), Ok(()));
        assert_eq!(slots.see(10_000, &single), Ok(()));
        assert_eq!(slots.see(11_000, &double), Ok(()));
        assert_eq!(slots.see(20_000, &double), Ok(()), "counted from the second time");
        assert!(slots.see(30_000, &double).is_err());
    }
}
