//! The thread that syncs: it takes everything that waits, syncs once, and tells all who waited.
//!
//! Votes and records pass through one queue, so that a vote is never on disk before the records that
//! were appended before it. In simulations a task on paused time stands in for the thread, so that
//! there, too, a crash can come between a write and its sync.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use openraft::storage::IOFlushed;
use swarm_net::task::TaskGroup;
use swarm_state::mistake::{Mistake, planted};
use swarm_state::store::{SyncHandle, VoteTable};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use crate::types::Types;
use crate::work::{User, Work};

/// Requests that may wait for the disk before the core has to wait itself.
const QUEUE: usize = 1024;
/// How often the core looks whether a full queue has room again.
const FULL_RETRY: Duration = Duration::from_millis(1);
/// After this much quiet the high-water mark is saved: it costs a sync of its own.
const QUIET: Duration = Duration::from_secs(1);

/// What a simulated sync takes: longer than a round trip, so that a majority that only pretends to have
/// synced is found out by a power cut.
const SIMULATED_SYNC: Duration = Duration::from_millis(8);

pub(super) enum Job {
    Flush(IOFlushed<Types>),
    Vote(Bytes, oneshot::Sender<io::Result<()>>),
}

/// Makes the log and the vote durable.
pub(super) enum Writer {
    /// By a thread, which ends when this is dropped.
    Thread(SyncSender<Job>),
    /// By a task, which ends when this is dropped. The group is its owner.
    Task(mpsc::Sender<Job>, #[expect(dead_code, reason = "owns the task")] TaskGroup),
}

/// What the thread writes to.
pub(super) struct Disk {
    log: SyncHandle,
    vote: VoteTable,
    _user: User,
}

impl Writer {
    pub(super) fn start(
        log: SyncHandle,
        vote: VoteTable,
        work: Work,
        user: User,
    ) -> io::Result<Self> {
        let disk = Disk { log, vote, _user: user };
        match work {
            Work::Inline => {
                let (jobs, waiting) = mpsc::channel(QUEUE);
                let tasks = TaskGroup::new();
                tasks.spawn("raft log", disk.serve_simulated(waiting));
                Ok(Self::Task(jobs, tasks))
            }
            Work::Threads => {
                let (jobs, waiting) = sync_channel(QUEUE);
                let thread = std::thread::Builder::new().name("raft-log".into());
                thread.spawn(move || disk.serve(&waiting))?;
                Ok(Self::Thread(jobs))
            }
        }
    }

    /// Calls `flushed` once everything that was appended so far is durable.
    pub(super) async fn flush(&self, flushed: IOFlushed<Types>) -> io::Result<()> {
        match self {
            Self::Thread(jobs) => send(jobs, Job::Flush(flushed)).await,
            Self::Task(jobs, _) => jobs.send(Job::Flush(flushed)).await.map_err(|_ended| ended()),
        }
    }

    /// Returns once the vote, and everything appended before it, is durable.
    pub(super) async fn save_vote(&self, vote: Bytes) -> io::Result<()> {
        let (tell, told) = oneshot::channel();
        match self {
            Self::Thread(jobs) => send(jobs, Job::Vote(vote, tell)).await?,
            Self::Task(jobs, _) => {
                jobs.send(Job::Vote(vote, tell)).await.map_err(|_ended| ended())?;
            }
        }
        told.await.map_err(|_ended| ended())?
    }
}

/// Queues a job; a full queue holds the core up, and with it everyone who proposes.
async fn send(jobs: &SyncSender<Job>, mut job: Job) -> io::Result<()> {
    loop {
        job = match jobs.try_send(job) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Disconnected(_job)) => return Err(ended()),
            Err(TrySendError::Full(job)) => job,
        };
        sleep(FULL_RETRY).await;
    }
}

impl Disk {
    fn sync(&self) -> io::Result<()> {
        if !planted(Mistake::SkipSync) {
            self.log.sync()?;
        }
        Ok(())
    }

    /// The thread: until the store is dropped.
    fn serve(self, jobs: &Receiver<Job>) {
        let mut unsaved = false;
        loop {
            let first = if unsaved {
                jobs.recv_timeout(QUIET)
            } else {
                jobs.recv().map_err(RecvTimeoutError::from)
            };
            match first {
                Ok(first) => {
                    let waiting: Vec<_> = std::iter::once(first).chain(jobs.try_iter()).collect();
                    self.work_off(waiting);
                    unsaved = true;
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.save_mark();
                    unsaved = false;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.save_mark();
    }

    /// The task that stands in for the thread.
    async fn serve_simulated(self, mut jobs: mpsc::Receiver<Job>) {
        let mut unsaved = false;
        loop {
            let mut waiting = Vec::new();
            let taken = jobs.recv_many(&mut waiting, QUEUE);
            let quiet = if unsaved { QUIET } else { Duration::MAX };
            match timeout(quiet, taken).await {
                Ok(0) => break,
                Ok(_) => {
                    sleep(SIMULATED_SYNC).await;
                    self.work_off(waiting);
                    unsaved = true;
                }
                Err(_quiet) => {
                    self.save_mark();
                    unsaved = false;
                }
            }
        }
        self.save_mark();
    }

    /// One sync for all of them, then the votes.
    fn work_off(&self, waiting: Vec<Job>) {
        let synced = self.sync();
        let mut voted = false;
        for job in waiting {
            match job {
                Job::Flush(flushed) => flushed.io_completed(repeat(&synced)),
                Job::Vote(vote, tell) => {
                    let forget = planted(Mistake::ForgetVote);
                    let save = || if forget { Ok(()) } else { self.vote.save(&vote) };
                    let saved = repeat(&synced).and_then(|()| Ok(save()?));
                    voted |= saved.is_ok() && !forget;
                    // Nobody waits when the core has stopped meanwhile.
                    drop(tell.send(saved));
                }
            }
        }
        if voted && let Err(error) = self.vote.witness() {
            tracing::warn!(%error, "vote not witnessed, the next one will be slower");
        }
    }

    fn save_mark(&self) {
        if let Err(error) = self.log.save_high_water() {
            tracing::warn!(%error, "high-water mark not saved, the older one stands");
        }
    }
}

/// One result for several who wait.
fn repeat(result: &io::Result<()>) -> io::Result<()> {
    result.as_ref().map(|&()| ()).map_err(|error| io::Error::new(error.kind(), error.to_string()))
}

fn ended() -> io::Error {
    io::Error::other("the thread that writes the log has ended")
}
