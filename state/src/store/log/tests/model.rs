//! Random work, crashes and restarts against a plain vector: nothing acknowledged is lost, nothing
//! appears that was never appended.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Append { count: u64, size: usize },
    Sync,
    SaveMark,
    Truncate { back: u64 },
    Purge { back: u64 },
    Jump { ahead: u64 },
    FailWrite,
    Fill { free: u64 },
    Restart,
    Kill,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (1..6u64, 0..700usize).prop_map(|(count, size)| Step::Append { count, size }),
        6 => Just(Step::Sync),
        2 => Just(Step::SaveMark),
        2 => (0..8u64).prop_map(|back| Step::Truncate { back }),
        2 => (0..12u64).prop_map(|back| Step::Purge { back }),
        1 => (1..5u64).prop_map(|ahead| Step::Jump { ahead }),
        1 => Just(Step::FailWrite),
        1 => (0..3000u64).prop_map(|free| Step::Fill { free }),
        1 => Just(Step::Restart),
        1 => Just(Step::Kill),
        4 => Just(Step::Crash),
    ]
}

/// What the log must and may hold.
#[derive(Default)]
struct Model {
    start: u64,
    records: BTreeMap<u64, Record>,
    /// Records below were acknowledged.
    durable_end: u64,
    /// Appends that failed: all, part or none of one may turn up after a restart.
    maybe: Vec<Vec<Record>>,
    term: u64,
}

impl Model {
    fn end(&self) -> u64 {
        self.records.last_key_value().map_or(self.start, |(index, _)| index + 1)
    }

    fn check_live(&self, log: &LogTable) {
        let expected: Vec<_> = self.records.values().cloned().collect();
        let read = log.read(self.start..self.end(), usize::MAX).expect("readable");
        assert_eq!(read, expected);
        assert_eq!(log.first_index(), self.start);
        assert_eq!(log.last(), self.records.values().last().map(Record::position));
    }

    /// After a restart: every acknowledged record, then some of the rest, nothing else.
    fn check_restarted(&mut self, log: &LogTable, all_stay: bool) {
        let end = log.last().map_or(log.first_index(), |last| last.index + 1);
        assert_eq!(log.first_index(), self.start);
        let must = if all_stay { self.end() } else { self.durable_end };
        assert!(end >= must, "acknowledged up to {must}, found up to {end}");
        let found = log.read(self.start..end, usize::MAX).expect("readable");
        let (known, more) = found.split_at(found.len().min(self.records.len()));
        assert!(known.iter().eq(self.records.values().take(known.len())), "not what was appended");
        let from = more.first().map_or(0, |record| record.index);
        let failed = self.maybe.iter().any(|failed| {
            let skipped = failed.iter().take_while(|record| record.index < from).count();
            failed[skipped..].starts_with(more)
        });
        assert!(more.is_empty() || failed, "a phantom");
        self.records = found.into_iter().map(|record| (record.index, record)).collect();
        self.durable_end = self.end();
        self.maybe.clear();
    }

    fn run(&mut self, log: &mut LogTable, disk: &MemDisk, step: &Step) {
        match *step {
            Step::Append { count, size } => {
                let end = self.end();
                let new = (end..end + count).map(|index| record(index, self.term, size));
                let new: Vec<_> = new.collect();
                match log.append(&new) {
                    Ok(()) => {
                        self.records.extend(new.into_iter().map(|record| (record.index, record)));
                        self.maybe.clear();
                    }
                    Err(_) => self.maybe.push(new),
                }
            }
            Step::Sync => {
                log.sync().expect("syncs are sound");
                self.durable_end = self.end();
            }
            Step::SaveMark => {
                if log.save_high_water().is_ok() {
                    self.durable_end = self.end();
                }
            }
            Step::Truncate { back } => {
                let end = self.end().saturating_sub(back).max(self.start);
                self.term += 1;
                if log.truncate_after(end.checked_sub(1)).is_ok() {
                    self.records.retain(|&index, _| index < end);
                    self.durable_end = self.durable_end.min(end);
                    self.maybe.clear();
                }
            }
            Step::Purge { back } => self.purge(log, self.end().checked_sub(1 + back)),
            Step::Jump { ahead } => self.purge(log, Some(self.end() + ahead)),
            Step::FailWrite => disk.inject(Fault { kind: FaultKind::Write, after: 0 }),
            Step::Fill { free } => disk.set_free(Some(free)),
            Step::Restart | Step::Kill | Step::Crash => unreachable!("handled by the caller"),
        }
    }

    fn purge(&mut self, log: &mut LogTable, upto: Option<u64>) {
        let Some(index) = upto.filter(|&index| index >= self.start) else { return };
        let term = self.records.get(&index).map_or(self.term, |record| record.term);
        let purged = log.purge_upto(Position { index, term });
        if log.first_index() > index {
            if index >= self.end() && purged.is_ok() {
                self.maybe.clear();
            }
            self.start = index + 1;
            self.records.retain(|&kept, _| kept > index);
            self.durable_end = self.durable_end.max(self.start);
        }
    }
}

fn run(seed: u64, steps: &[Step]) {
    let disk = MemDisk::new(seed);
    let mut model = Model { term: 1, ..Model::default() };
    let mut log = open(&disk);
    for step in steps {
        match step {
            Step::Restart | Step::Kill | Step::Crash => {
                let (clean, crash) = (matches!(step, Step::Restart), matches!(step, Step::Crash));
                disk.set_free(None);
                if clean && log.save_high_water().is_ok() {
                    model.durable_end = model.end();
                }
                drop(log);
                if crash {
                    disk.crash()
                } else {
                    disk.kill()
                }
                log = try_open(&disk).unwrap_or_else(|error| panic!("refused: {error}"));
                model.check_restarted(&log, !crash);
            }
            step => {
                let may_fail = matches!(step, Step::Fill { .. } | Step::FailWrite);
                model.run(&mut log, &disk, step);
                if !may_fail {
                    model.check_live(&log);
                }
            }
        }
        model.check_live(&log);
    }
}

proptest! {
    #[test]
    fn nothing_acknowledged_is_lost_and_nothing_appears(
        seed: u64,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        run(seed, &steps);
    }
}
