//! openraft's own storage suite over the real tables: on a simulated disk and on this machine's.
//!
//! Some of its cases begin a log at index 1, which no Raft does and our tables refuse; for them the
//! missing records are filled in and hidden again.

use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{LogState, OptionalSend, StorageError};
use swarm_state::store::disk::MemDisk;
use swarm_state::store::{LogOptions, Store};

use super::{LogStore, Reader, half_open};
use crate::machine::StateMachine;
use crate::news;
use crate::pace::Pace;
use crate::snapshot::Snapshots;
use crate::types::{Entry, LogId, Payload, Types, Vote, log_id};
use crate::work::{Work, users};

/// The log with its filled-in records hidden.
struct Filled {
    store: LogStore,
    first: Arc<AtomicU64>,
}

struct FilledReader {
    reader: Reader,
    first: Arc<AtomicU64>,
}

impl RaftLogReader<Types> for FilledReader {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let range = half_open(&range);
        let start = range.start.max(self.first.load(Ordering::Relaxed));
        self.reader.try_get_log_entries(start..range.end.max(start)).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let start = start.max(self.first.load(Ordering::Relaxed));
        self.reader.limited_get_log_entries(start, end.max(start)).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.reader.read_vote().await
    }
}

impl RaftLogStorage<Types> for Filled {
    type LogReader = FilledReader;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let mut state = self.store.get_log_state().await?;
        let first = self.first.load(Ordering::Relaxed);
        state.last_log_id = state.last_log_id.filter(|last| last.index >= first);
        Ok(state)
    }

    async fn get_log_reader(&mut self) -> FilledReader {
        let reader = self.store.get_log_reader().await;
        FilledReader { reader, first: self.first.clone() }
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.store.save_vote(vote).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.store.save_committed(committed).await
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        self.store.read_committed().await
    }

    async fn append<I>(&mut self, entries: I, flushed: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        let begins = entries.first().map_or(0, |entry| entry.log_id.index);
        if begins > 0 && self.store.get_log_state().await?.last_log_id.is_none() {
            let fill = (0..begins).map(|index| Entry::new(log_id(0, index), Payload::Blank));
            self.first.store(begins, Ordering::Relaxed);
            self.store.append(fill, IOFlushed::noop()).await?;
        }
        self.store.append(entries, flushed).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.store.truncate_after(last).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.store.purge(upto).await
    }
}

fn open(store: Store, work: Work) -> (Filled, StateMachine) {
    let (user, _) = users();
    let opened = LogStore::open(store.log, store.vote, store.meta, work, user.clone());
    let log_store = opened.expect("an empty store");
    let (publisher, _) = news::channel();
    let log = Filled { store: log_store, first: Arc::default() };
    (log, StateMachine::new(publisher, Snapshots::new(store.snapshots, work, user), Pace::new(1)))
}

struct OnMemory;

impl StoreBuilder<Types, Filled, StateMachine> for OnMemory {
    async fn build(&self) -> Result<((), Filled, StateMachine), StorageError<Types>> {
        let disk = Arc::new(MemDisk::new(1));
        let store = Store::open_on(disk, Path::new("/data"), LogOptions::default());
        let (log, machine) = open(store.expect("an empty disk"), Work::Inline);
        Ok(((), log, machine))
    }
}

struct OnDisk;

impl StoreBuilder<Types, Filled, StateMachine, tempfile::TempDir> for OnDisk {
    async fn build(
        &self,
    ) -> Result<(tempfile::TempDir, Filled, StateMachine), StorageError<Types>> {
        let dir = tempfile::tempdir().expect("a folder for temporary files");
        let store = Store::open(dir.path()).expect("an empty folder");
        let (log, machine) = open(store, Work::Threads);
        Ok((dir, log, machine))
    }
}

#[tokio::test]
async fn simulated_disk_passes_the_storage_suite_of_openraft() {
    Suite::test_all(OnMemory).await.expect("conforms");
}

#[tokio::test]
async fn real_disk_passes_the_storage_suite_of_openraft() {
    Suite::test_all(OnDisk).await.expect("conforms");
}
