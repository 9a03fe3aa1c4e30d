//! What was asked of a store and what it answered: a random script, and the judge of what must be
//! there after a restart.
//!
//! Whatever was answered must be there; what was under way may be there, whole; nothing else may.

use std::collections::BTreeMap;

use swarm_model::id::TaskId;
use swarm_state::store::{AgentWrite, Error, Position, Record, Store};

/// splitmix64.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).expect("a byte")
    }

    fn bytes(&mut self, sizes: u64) -> Vec<u8> {
        // Now and then zeros, which look like a write that was cut short.
        let zeros = self.below(8) == 0;
        (0..self.below(sizes)).map(|_| if zeros { 0 } else { self.byte() }).collect()
    }
}

/// Everything a store holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Content {
    pub(crate) vote: u64,
    pub(crate) records: Vec<Record>,
    pub(crate) purged: Option<Position>,
    pub(crate) snapshot: Option<(Vec<u8>, Vec<u8>)>,
    pub(crate) agent: BTreeMap<TaskId, Vec<u8>>,
}

impl Content {
    pub(crate) fn read(store: &Store) -> Result<Self, Error> {
        let vote = store.vote.read()?.map_or(0, |bytes| {
            u64::from_le_bytes(*bytes.first_chunk().expect("the script writes more"))
        });
        let end = store.log.last().map_or(store.log.first_index(), |last| last.index + 1);
        let records = store.log.read(store.log.first_index()..end, usize::MAX)?;
        let snapshot = match store.snapshots.latest()? {
            Some(reader) => Some((reader.meta().to_vec(), reader.read_all()?)),
            None => None,
        };
        let agent = store.agent_tasks.scan()?.into_iter().collect();
        Ok(Self { vote, records, purged: store.log.purged(), snapshot, agent })
    }
}

/// One call of a store.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Vote(u64),
    Witness,
    Append(Vec<Record>),
    Sync,
    Cut(Option<u64>),
    Snapshot(Position, Vec<u8>),
    Purge(Position),
    Agent(Vec<AgentWrite>),
    Mark,
}

/// What was answered (`kept`), and that with what was asked since and not answered (`asked`).
#[derive(Debug)]
pub(crate) struct Ledger {
    random: Random,
    kept: Content,
    asked: Content,
    /// Appended and not cut off, also what was not answered.
    records: BTreeMap<u64, Record>,
    /// The index that comes next.
    next: u64,
    /// Records below were said to be durable.
    durable: u64,
    /// A snapshot was made, and its records may go.
    may_purge: Option<Position>,
}

impl Ledger {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            kept: Content::default(),
            asked: Content::default(),
            records: BTreeMap::new(),
            next: 0,
            durable: 0,
            may_purge: None,
        }
    }

    fn start(&self) -> u64 {
        self.kept.purged.map_or(0, |purged| purged.index + 1)
    }

    /// The next call of the script.
    pub(crate) fn next_op(&mut self) -> Op {
        if let Some(purged) = self.may_purge.take() {
            return Op::Purge(purged);
        }
        match self.random.below(20) {
            0..7 => self.append(),
            7..11 => Op::Sync,
            11 | 12 => Op::Vote(self.kept.vote + 1),
            13 => Op::Witness,
            14 => {
                let kept = self.start() + self.random.below(self.next - self.start() + 1);
                Op::Cut(kept.checked_sub(1))
            }
            15 => self.snapshot(),
            16 => Op::Mark,
            _ => {
                let size = if self.random.below(8) == 0 { 40_000 } else { 300 };
                let put = AgentWrite::Put(self.task(), self.random.bytes(size));
                Op::Agent(vec![put, AgentWrite::Remove(self.task())])
            }
        }
    }

    fn task(&mut self) -> TaskId {
        TaskId::from_raw(self.random.below(6).into())
    }

    pub(crate) fn append(&mut self) -> Op {
        let count = 1 + self.random.below(4);
        let term = self.kept.vote;
        let record = |at| {
            let sizes = if self.random.below(8) == 0 { 3000 } else { 200 };
            let payload = self.random.bytes(sizes).into();
            Record { index: self.next + at, term, payload }
        };
        Op::Append((0..count).map(record).collect())
    }

    /// Of the records that are here, or, now and then, from elsewhere and beyond them.
    fn snapshot(&mut self) -> Op {
        let body = self.random.bytes(5000);
        let beyond = self.random.below(4) == 0;
        let here = (self.start()..self.durable.min(self.next)).next_back();
        let at = match here {
            Some(last) if !beyond => {
                let index = last - self.random.below(last - self.start() + 1);
                Position { index, term: self.records[&index].term }
            }
            _ => Position { index: self.next + 3, term: self.kept.vote },
        };
        Op::Snapshot(at, body)
    }

    /// Makes one call, and notes what was asked and what was answered.
    pub(crate) fn run(&mut self, store: &mut Store, op: &Op) -> Result<(), Error> {
        match op {
            Op::Vote(vote) => {
                self.asked.vote = *vote;
                store.vote.save(&[vote.to_le_bytes(), [7; 8]].concat())?;
                self.kept.vote = *vote;
            }
            Op::Witness => store.vote.witness()?,
            Op::Append(records) => {
                self.records.extend(records.iter().map(|record| (record.index, record.clone())));
                store.log.append(records)?;
                self.next += u64::try_from(records.len()).expect("a few");
            }
            Op::Sync => {
                store.log.sync()?;
                self.durable = self.next;
            }
            Op::Mark => {
                store.meta.note_committed(b"something");
                store.log.save_high_water()?;
                self.durable = self.next;
            }
            Op::Cut(last) => {
                let end = last.map_or(0, |last| last + 1);
                self.durable = self.durable.min(end);
                store.log.truncate_after(*last)?;
                self.records.split_off(&end);
                self.next = end;
            }
            Op::Snapshot(at, body) => {
                let meta = [at.index.to_le_bytes(), at.term.to_le_bytes()].concat();
                self.asked.snapshot = Some((meta.clone(), body.clone()));
                let mut writer = store.snapshots.create(&meta)?;
                for part in body.chunks(2000) {
                    writer.write(part)?;
                }
                writer.finish()?;
                self.kept.snapshot.clone_from(&self.asked.snapshot);
                self.may_purge = Some(*at);
            }
            Op::Purge(last) => {
                self.asked.purged = Some(*last);
                store.log.purge_upto(*last)?;
                self.kept.purged = Some(*last);
                self.records = self.records.split_off(&(last.index + 1));
                self.next = self.next.max(last.index + 1);
                self.durable = self.next;
            }
            Op::Agent(writes) => {
                for write in writes {
                    match write {
                        AgentWrite::Put(task, bytes) => {
                            self.asked.agent.insert(*task, bytes.clone())
                        }
                        AgentWrite::Remove(task) => self.asked.agent.remove(task),
                    };
                }
                store.agent_tasks.apply(writes)?;
                self.kept.agent.clone_from(&self.asked.agent);
            }
        }
        Ok(())
    }

    /// Runs the next `count` calls of the script, up to the first that fails; returns that one.
    pub(crate) fn go(&mut self, store: &mut Store, count: usize) -> Result<(), Box<(Op, Error)>> {
        for _ in 0..count {
            let op = self.next_op();
            self.run(store, &op).map_err(|error| Box::new((op, error)))?;
        }
        Ok(())
    }

    /// Compares a store that was opened again with what it had promised, and goes on from there.
    pub(crate) fn judge(&mut self, store: &Store, when: &str) {
        let found = Content::read(store).unwrap_or_else(|error| panic!("{when}: {error}"));
        let (kept, asked) = (&self.kept, &self.asked);
        let votes = kept.vote..=asked.vote;
        assert!(votes.contains(&found.vote), "{when}: vote {} of {votes:?}", found.vote);
        let one_of = |is: bool, what| assert!(is, "{when}: {what} is neither old nor new");
        one_of([kept.purged, asked.purged].contains(&found.purged), "the purge mark");
        one_of([&kept.snapshot, &asked.snapshot].contains(&&found.snapshot), "the snapshot");
        one_of([&kept.agent, &asked.agent].contains(&&found.agent), "the agent's table");
        let start = found.purged.map_or(0, |purged| purged.index + 1);
        let mut next = start;
        for record in &found.records {
            assert_eq!(record.index, next, "{when}: a gap");
            let same = self.records.get(&next) == Some(record);
            assert!(same, "{when}: record {next} is another one");
            next += 1;
        }
        assert!(next >= self.durable, "{when}: {next} records of {} are here", self.durable);
        self.records = found.records.iter().map(|record| (record.index, record.clone())).collect();
        (self.next, self.durable, self.may_purge) = (next, next, None);
        (self.kept, self.asked) = (found.clone(), found);
    }
}
