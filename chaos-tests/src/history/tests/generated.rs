//! By chance: a register service that is right, asked by several clients at once, gives histories
//! that pass; each of them with one answer falsified does not.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{blindly, by_log, by_revision};
use crate::history::revisions::Written;
use crate::history::{F, History, Kind, Operation, Outcome, Record};

const KEYS: [&str; 3] = ["x", "y", "z"];

/// One client's request, on its way.
#[derive(Debug, Clone)]
struct Pending {
    begin: Record,
    /// What was answered, once it took effect.
    answer: Option<(Option<u64>, u64)>,
}

/// A service that is right, and everything that was recorded of it.
#[derive(Debug, Default)]
struct Service {
    now: u64,
    revision: u64,
    values: u64,
    holds: BTreeMap<String, u64>,
    pending: BTreeMap<u32, Pending>,
    /// Writes whose client gave up.
    stray: Vec<Record>,
    next_process: u32,
    records: Vec<Record>,
    log: Vec<Written>,
}

impl Service {
    /// Lets chance take one step for the client in this seat.
    fn step(&mut self, seat: u32, choice: u8, key: usize) {
        self.now += 1;
        let key = KEYS[key % KEYS.len()];
        let Some(mut pending) = self.pending.remove(&seat) else {
            return self.begin(seat, choice, key);
        };
        match (pending.answer, choice % 8) {
            (None, 0..=4) => {
                pending.answer = Some(self.apply(&pending.begin));
                self.pending.insert(seat, pending);
            }
            (None, 5) if pending.begin.f == F::Write => {
                self.records.push(pending.begin.ended(self.now, Kind::Fail));
            }
            (None, _) => {
                self.records.push(pending.begin.ended(self.now, Kind::Unknown));
                self.stray.extend(Some(pending.begin).filter(|begin| begin.f == F::Write));
            }
            (Some(_), 7) => self.records.push(pending.begin.ended(self.now, Kind::Unknown)),
            (Some((value, revision)), _) => {
                self.records.push(pending.begin.answered(self.now, value, revision));
            }
        }
    }

    fn begin(&mut self, seat: u32, choice: u8, key: &str) {
        if choice.is_multiple_of(5) && !self.stray.is_empty() {
            let late = self.stray.remove(usize::from(choice) % self.stray.len());
            self.apply(&late);
            return;
        }
        self.next_process += 1;
        let begin = if choice.is_multiple_of(2) {
            Record::read(self.now, self.next_process, key)
        } else {
            self.values += 1;
            Record::write(self.now, self.next_process, key, Some(self.values))
        };
        self.records.push(begin.clone());
        self.pending.insert(seat, Pending { begin, answer: None });
    }

    fn apply(&mut self, begin: &Record) -> (Option<u64>, u64) {
        if begin.f == F::Write {
            self.revision += 1;
            let (key, value) = (begin.key.clone(), begin.value);
            self.holds.extend(value.map(|value| (key.clone(), value)));
            self.log.push(Written { key, value, revision: self.revision });
        }
        (self.holds.get(&begin.key).copied(), self.revision)
    }
}

fn service() -> impl Strategy<Value = Service> {
    prop::collection::vec((0..5_u32, any::<u8>(), 0..3_usize), 60..200).prop_map(|steps| {
        let mut service = Service::default();
        for (seat, choice, key) in steps {
            service.step(seat, choice, key);
        }
        service
    })
}

fn answered(history: &History, f: F) -> Vec<usize> {
    let all = history.operations.iter().enumerate();
    all.filter(|(_, o)| o.f == f && o.revision().is_some()).map(|(at, _)| at).collect()
}

/// A read and two writes of its register, each answered before the next began.
fn overwritten(operations: &[Operation]) -> Option<(usize, usize)> {
    let write = |o: &&Operation| o.f == F::Write && o.revision().is_some();
    operations.iter().enumerate().find_map(|(read, it)| {
        if it.f != F::Read || it.revision().is_none() {
            return None;
        }
        let before = operations.iter().filter(|o| o.key == it.key && o.ended() < it.invoked);
        let newer = before.filter(write).max_by_key(|o| o.invoked)?;
        let mut older = operations.iter().enumerate();
        let (older, _) = older.find(|(_, o)| {
            write(o) && o.key == it.key && o.ended() < newer.invoked && o.value != it.value
        })?;
        Some((read, older))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_a_right_service_answers_passes(service in service()) {
        let history = History::new(&service.records).expect("a history");
        prop_assert_eq!(by_revision(&history), Ok(()));
        prop_assert_eq!(by_log(&history, &service.log), Ok(()));
        prop_assert_eq!(blindly(&history), Ok(()));
    }

    #[test]
    fn an_invented_answer_is_found(service in service(), which: prop::sample::Index) {
        let mut history = History::new(&service.records).expect("a history");
        let reads = answered(&history, F::Read);
        prop_assume!(!reads.is_empty());
        history.operations[*which.get(&reads)].value = Some(1 << 40);
        prop_assert!(by_revision(&history).is_err());
        prop_assert!(by_log(&history, &service.log).is_err());
        prop_assert!(blindly(&history).is_err());
    }

    #[test]
    fn a_stale_answer_is_found(service in service()) {
        let mut history = History::new(&service.records).expect("a history");
        let found = overwritten(&history.operations);
        prop_assume!(found.is_some());
        let Some((read, older)) = found else { return Ok(()) };
        let (value, at) = (history.operations[older].value, history.operations[read].ended());
        let fresh = history.operations[read].outcome;
        history.operations[read].value = value;
        prop_assert!(blindly(&history).is_err(), "blindly");
        prop_assert!(by_revision(&history).is_err(), "at the revision of the read");
        let revision = history.operations[older].revision();
        history.operations[read].outcome = Outcome::Ok { at, revision };
        prop_assert!(by_revision(&history).is_err(), "at its own revision: {fresh:?}");
    }

    #[test]
    fn a_lost_write_is_found(service in service(), which: prop::sample::Index) {
        let history = History::new(&service.records).expect("a history");
        let writes = answered(&history, F::Write);
        prop_assume!(!writes.is_empty());
        let lost = history.operations[*which.get(&writes)].revision();
        let rest: Vec<Written> =
            service.log.iter().filter(|w| Some(w.revision) != lost).cloned().collect();
        prop_assert!(by_log(&history, &rest).is_err());
    }

    #[test]
    fn swapped_revisions_are_found(service in service()) {
        let mut history = History::new(&service.records).expect("a history");
        let writes = answered(&history, F::Write);
        let all = &history.operations;
        let in_order = |a: &usize, b: &usize| all[*a].ended() < all[*b].invoked;
        let pair = writes.iter().find_map(|a| {
            writes.iter().find(|b| in_order(a, b)).map(|b| (*a, *b))
        });
        prop_assume!(pair.is_some());
        let Some((a, b)) = pair else { return Ok(()) };
        let (first, second) = (all[a].revision(), all[b].revision());
        history.operations[a].outcome = Outcome::Ok { at: all[a].ended(), revision: second };
        let at = history.operations[b].ended();
        history.operations[b].outcome = Outcome::Ok { at, revision: first };
        prop_assert!(by_revision(&history).is_err());
    }
}
