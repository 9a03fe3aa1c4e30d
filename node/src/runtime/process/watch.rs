//! What a task does now, from its run directory; and waiting for its end.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use swarm_model::id::TaskId;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::census::Census;
use super::processes::{boot_id, kill_all};
use super::record::{LaunchRecord, RunDir, StartRecord};
use super::{Inner, blocking};
use crate::runtime::{Exit, Failure};

/// How often a supervisor that is between two states is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How often it is tried again what the system refused.
const RETRY: Duration = Duration::from_millis(200);

/// What a task does.
#[derive(Debug)]
pub(super) enum State {
    /// There is no such task.
    Unknown,
    /// It waits for its start.
    Prepared,
    /// Its supervisor is just starting or just ending.
    Between,
    /// It runs; the handle is its supervisor's.
    Running { start: StartRecord, supervisor: OwnedFd },
    /// It has ended.
    Exited(Exit),
    /// Its supervisor is gone without a word.
    Lost { start: Option<StartRecord> },
}

/// Looks. The lock is looked at first: once it is free nobody writes here any more.
pub(super) fn look(dir: &RunDir) -> io::Result<State> {
    if !dir.path().exists() {
        return Ok(State::Unknown);
    }
    let locked = dir.is_locked()?;
    if let Ok(exit) = dir.exit() {
        return Ok(State::Exited(exit));
    }
    let start = dir.start();
    Ok(match (locked, start) {
        (true, Ok(start)) => match start.supervisor.open() {
            Some(supervisor) => State::Running { start, supervisor },
            None => State::Between,
        },
        (true, Err(_missing)) => State::Between,
        (false, Ok(start)) => State::Lost { start: Some(start) },
        (false, Err(_damaged)) if dir.was_started() => State::Lost { start: None },
        (false, Err(_missing)) => State::Prepared,
    })
}

/// Waits until the task has ended.
pub(super) async fn wait(inner: Arc<Inner>, task: TaskId) -> Exit {
    loop {
        let looking = Arc::clone(&inner);
        let looked = blocking(move || {
            let state = look(&looking.run_dir(task));
            if !matches!(state, Ok(State::Running { .. } | State::Between)) {
                settle(&looking, task);
            }
            state.map_err(|error| Failure::io("look at the task".to_owned(), error))
        });
        match looked.await {
            Ok(State::Exited(exit)) => return exit,
            Ok(State::Running { supervisor, .. }) => end_of(supervisor).await,
            Ok(State::Between) => tokio::time::sleep(LOOK_AGAIN).await,
            // No file handles left, or a disk that fails: not the task's end.
            Err(_unknown) => tokio::time::sleep(RETRY).await,
            Ok(State::Unknown | State::Prepared | State::Lost { .. }) => {
                return inner.lost();
            }
        }
    }
}

/// Waits for a process by its handle.
async fn end_of(process: OwnedFd) {
    #[expect(
        deprecated,
        reason = "an OwnedFd always gives the same open fd; the new call is unsafe"
    )]
    let process = AsyncFd::with_interest(process, Interest::READABLE);
    match process {
        Ok(process) => {
            process.readable().await.ok();
        }
        // No room for one more handle: look again a little later.
        Err(_full) => tokio::time::sleep(RETRY).await,
    }
}

/// After the end: reaps the supervisor, and kills what a lost one has left. Blocking.
pub(super) fn settle(inner: &Inner, task: TaskId) {
    inner.reap(task);
    let dir = inner.run_dir(task);
    if let Ok(State::Lost { start }) = look(&dir) {
        if let Ok(launch) = dir.launch() {
            kill_leftovers(&launch, start.as_ref());
        }
        inner.config.logs.mark_end(task);
    }
}

/// Kills what is left of a task without a supervisor.
fn kill_leftovers(launch: &LaunchRecord, start: Option<&StartRecord>) {
    if launch.group.kill() {
        return;
    }
    if let Some(start) = start.filter(|start| start.boot_id == boot_id()) {
        kill_all(|| Census::default().kin(start.program, launch.task));
    }
}
