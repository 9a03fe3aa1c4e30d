//! Signals, stops, removes and adopts tasks through their run directories.

use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Signal as RawSignal, pidfd_send_signal};
use swarm_model::id::TaskId;
use swarm_model::runtime::Signal;

use super::processes::boot_id;
use super::record::RunDir;
use super::watch::{self, State};
use super::{Inner, blocking, files};
use crate::runtime::{Adopted, AdoptedState, Failure};

/// How long a killed task may take to end.
const KILL_DEADLINE: Duration = Duration::from_secs(10);
/// How long an adopted supervisor may be between two states, and how often it is looked at.
const SETTLE_ROUNDS: u32 = 400;
const SETTLE_PAUSE: rustix::fs::Timespec = rustix::fs::Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
/// How often a group that still has dying processes is tried again.
const EMPTY_ROUNDS: u32 = 100;

/// Sends a signal to the program. Blocking.
pub(super) fn signal(inner: &Inner, task: TaskId, signal: Signal) -> Result<(), Failure> {
    let dir = inner.run_dir(task);
    match settled(&dir)? {
        State::Unknown => Err(Failure::UnknownTask { task }),
        State::Running { start, .. } => {
            let raw = RawSignal::from_named_raw(signal.number()).unwrap_or(RawSignal::TERM);
            match start.program.open().map(|program| pidfd_send_signal(program, raw)) {
                // Gone meanwhile.
                None | Some(Ok(()) | Err(rustix::io::Errno::SRCH)) => Ok(()),
                Some(Err(error)) => Err(Failure::io(format!("send {signal}"), error.into())),
            }
        }
        State::Prepared | State::Between | State::Exited(_) | State::Lost { .. } => Ok(()),
    }
}

/// Stops the task: politely, then not.
pub(super) async fn stop(
    inner: Arc<Inner>,
    task: TaskId,
    polite: Signal,
    grace: Duration,
) -> Result<(), Failure> {
    let sending = Arc::clone(&inner);
    blocking(move || signal(&sending, task, polite)).await?;
    let ended = watch::wait(Arc::clone(&inner), task);
    if tokio::time::timeout(grace, ended).await.is_ok() {
        return Ok(());
    }
    let killing = Arc::clone(&inner);
    blocking(move || {
        signal(&killing, task, Signal::KILL)?;
        // The supervisor kills the rest as soon as the program is gone; with a group none is
        // quicker.
        if let Ok(launch) = killing.run_dir(task).launch() {
            launch.group.kill();
        }
        Ok(())
    })
    .await?;
    let ended = tokio::time::timeout(KILL_DEADLINE, watch::wait(inner, task));
    ended.await.map(drop).map_err(|_late| Failure::Unkillable { task })
}

/// Removes what the task leaves but its logs. Blocking.
pub(super) fn remove(inner: &Inner, task: TaskId) -> Result<(), Failure> {
    let dir = inner.run_dir(task);
    match settled(&dir)? {
        State::Running { .. } | State::Between => return Err(Failure::StillRunning { task }),
        State::Unknown => return Ok(()),
        State::Prepared | State::Exited(_) | State::Lost { .. } => watch::settle(inner, task),
    }
    let failed = |source: io::Error| Failure::at("remove run directory", dir.path(), source);
    if let Ok(launch) = dir.launch() {
        let mut removed = launch.group.remove();
        for _round in 0..EMPTY_ROUNDS {
            if removed.is_ok() {
                break;
            }
            rustix::event::poll(&mut [], Some(&SETTLE_PAUSE)).ok();
            removed = launch.group.remove();
        }
        removed.map_err(|source| Failure::io("remove the task's cgroup".to_owned(), source))?;
    }
    files::remove(&inner.files_dir(task)).map_err(failed)?;
    // Last, so that a removal that was cut short can be repeated.
    fs::remove_dir_all(dir.path()).map_err(failed)
}

/// Finds every task of earlier lives. Blocking.
pub(super) fn adopt(inner: &Inner) -> Result<Vec<Adopted>, Failure> {
    let root = &inner.config.root;
    let failed = |source: io::Error| Failure::at("read task directory", root, source);
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let Some(task) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(state) = adopt_one(inner, task)? {
            found.push(Adopted { task, state });
        }
    }
    found.sort_unstable_by_key(|adopted| adopted.task);
    Ok(found)
}

fn adopt_one(inner: &Inner, task: TaskId) -> Result<Option<AdoptedState>, Failure> {
    let dir = inner.run_dir(task);
    Ok(match settled(&dir)? {
        State::Running { start, .. } => Some(AdoptedState::Running {
            pid: start.program.pid.unsigned_abs(),
            started_at: start.at,
        }),
        State::Exited(exit) => Some(AdoptedState::Exited(exit)),
        State::Lost { start } => {
            watch::settle(inner, task);
            let rebooted = start.is_none_or(|start| start.boot_id != boot_id());
            Some(AdoptedState::Lost { rebooted })
        }
        // Never started: nothing is lost, and what it needs may be gone since (`/run`, cgroups).
        State::Prepared => {
            remove(inner, task)?;
            None
        }
        State::Unknown => None,
        State::Between => return Err(Failure::StillRunning { task }),
    })
}

/// Looks once.
pub(super) fn look(dir: &RunDir) -> Result<State, Failure> {
    watch::look(dir).map_err(|source| Failure::at("look at run directory", dir.path(), source))
}

/// Looks until a supervisor that starts or ends has done so.
pub(super) fn settled(dir: &RunDir) -> Result<State, Failure> {
    for _round in 0..SETTLE_ROUNDS {
        match look(dir)? {
            State::Between => rustix::event::poll(&mut [], Some(&SETTLE_PAUSE)).ok(),
            state => return Ok(state),
        };
    }
    look(dir)
}
