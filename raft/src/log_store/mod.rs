//! openraft's log over the tables on disk. Records are readable as soon as they are appended; a thread
//! of its own makes them durable, many at a time, and only then says so.

mod writer;

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::{Arc, Mutex, PoisonError};

use crate::payload;
use crate::types::{self, Entry, LogId, Types, Vote};
use crate::wire::{Ballot, LogAt};
use crate::work::{User, Work, is_full, wait_for_room};
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::{LogState, OptionalSend};
use swarm_net::frame;
use swarm_state::store::{Error, LogReader, LogTable, MetaTable, Position, Record, VoteTable};

use writer::Writer;

/// The most bytes of records in one message to a follower.
const MESSAGE_BYTES: usize = 1 << 20;

/// The log and the vote of this node.
pub(crate) struct LogStore {
    table: Arc<Mutex<LogTable>>,
    meta: MetaTable,
    writer: Writer,
    work: Work,
    reader: Reader,
}

/// Reads the log, for one task.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    log: LogReader,
    vote: Arc<Mutex<Option<Vote>>>,
    _user: User,
}

impl LogStore {
    /// Takes over the tables and starts the writer.
    pub(crate) fn open(
        log: LogTable,
        vote: VoteTable,
        meta: MetaTable,
        work: Work,
        user: User,
    ) -> io::Result<Self> {
        let known = match vote.read()? {
            Some(bytes) => Some(Vote::from(decode::<Ballot>(&bytes)?)),
            None => None,
        };
        let vote_known = Arc::new(Mutex::new(known));
        let reader = Reader { log: log.reader(), vote: vote_known, _user: user.clone() };
        let writer = Writer::start(log.sync_handle(), vote, work, user)?;
        Ok(Self { table: Arc::new(Mutex::new(log)), meta, writer, work, reader })
    }

    /// The last vote, for the check at the start.
    pub(crate) fn vote(&self) -> Option<Vote> {
        self.reader.vote()
    }

    /// Does blocking work with the table; a full disk is waited for.
    async fn with_table(
        &self,
        change: impl Fn(&mut LogTable) -> Result<(), Error> + Clone + Send + 'static,
    ) -> io::Result<()> {
        loop {
            let (table, change) = (self.table.clone(), change.clone());
            let work = move || {
                let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(change(&mut table)?)
            };
            match self.work.run(work).await {
                Err(error) if is_full(&error) => wait_for_room(&error).await,
                result => return result,
            }
        }
    }

    fn append_now(&self, records: &[Record]) -> io::Result<()> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(table.append(records)?)
    }
}

impl Reader {
    /// The records of `range` that are here.
    fn read(&self, range: Range<u64>, max_bytes: usize) -> io::Result<Vec<Entry>> {
        let start = range.start.max(self.log.first_index());
        let records = match self.log.read(start..range.end, max_bytes) {
            // Purged between the two calls.
            Err(Error::Absent { .. }) => Vec::new(),
            records => records?,
        };
        records.into_iter().map(entry).collect()
    }

    fn vote(&self) -> Option<Vote> {
        *self.vote.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_vote(&self, vote: Vote) {
        *self.vote.lock().unwrap_or_else(PoisonError::into_inner) = Some(vote);
    }
}

fn entry(record: Record) -> io::Result<Entry> {
    let payload = payload::decode(record.payload).map_err(io::Error::other)?;
    Ok(Entry::new(types::log_id(record.term, record.index), payload))
}

fn record(entry: &Entry) -> Record {
    let LogAt { term, index } = (&entry.log_id).into();
    Record { index, term, payload: payload::encode(&entry.payload) }
}

fn position(id: &LogId) -> Position {
    Position { index: id.index, term: id.leader_id.term }
}

fn log_id(position: Position) -> LogId {
    types::log_id(position.term, position.index)
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    frame::decode(bytes).map_err(io::Error::other)
}

fn half_open(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(&first) => first,
        Bound::Excluded(&before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&last) => last.saturating_add(1),
        Bound::Excluded(&end) => end,
        Bound::Unbounded => u64::MAX,
    };
    start..end.max(start)
}

impl RaftLogReader<Types> for Reader {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.read(half_open(&range), usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start..end, MESSAGE_BYTES)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.vote())
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Reader;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let last_purged_log_id = self.reader.log.purged().map(log_id);
        let last_log_id = self.reader.log.last().map(log_id).or(last_purged_log_id);
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Reader {
        self.reader.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let bytes = frame::encode(&Ballot::from(vote));
        while let Err(error) = self.writer.save_vote(bytes.clone()).await {
            if !is_full(&error) {
                return Err(error);
            }
            wait_for_room(&error).await;
        }
        self.reader.set_vote(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        if let Some(committed) = committed {
            // Reaches the disk with the next high-water mark; until then a restart finds an older
            // one and learns the rest from the leader.
            self.meta.note_committed(&frame::encode(&LogAt::from(&committed)));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        let Some(bytes) = self.meta.committed()? else { return Ok(None) };
        let committed = decode::<LogAt>(&bytes)?;
        // The log may have been cut shorter than that only if it was damaged, which opening finds.
        Ok(Some(committed.into()))
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records: Vec<_> = entries.into_iter().map(|entry| record(&entry)).collect();
        // One write into the page cache: cheaper than a hop to another thread.
        while let Err(error) = self.append_now(&records) {
            if !is_full(&error) {
                return Err(error);
            }
            wait_for_room(&error).await;
        }
        self.writer.flush(flushed).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let last = last.map(|id| id.index);
        self.with_table(move |table| table.truncate_after(last)).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let upto = position(&upto);
        self.with_table(move |table| table.purge_upto(upto)).await
    }
}

#[cfg(test)]
mod conformance;
