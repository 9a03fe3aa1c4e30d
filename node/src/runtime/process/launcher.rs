//! Starts a task's supervisor and hears from it whether the program runs.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use swarm_model::id::TaskId;

use super::record::RunDir;
use super::report::Report;
use super::{Inner, supervisor};
use crate::runtime::{Failure, Started};

/// How long a supervisor may take to report: the program may lie on a slow disk.
const START_DEADLINE: Duration = Duration::from_secs(10);
/// A report is far smaller.
const MAX_REPORT: u64 = 4096;

/// Starts a prepared task. Blocking, up to [`START_DEADLINE`].
pub(super) fn start(inner: &Inner, task: TaskId) -> Result<Started, Failure> {
    let dir = inner.run_dir(task);
    let launch = dir.launch().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::UnknownTask { task },
        _ => Failure::at("read launch record in", dir.path(), error),
    })?;
    let lock = dir.lock().map_err(|error| Failure::at("lock", dir.path(), error))?;
    let Some(lock) = lock.filter(|_lock| !dir.was_started()) else {
        return Err(Failure::AlreadyStarted { task });
    };
    let mut child = spawn(inner, &dir, lock)
        .map_err(|error| Failure::at("execute the supervisor", &inner.config.supervisor, error))?;
    match report(&mut child) {
        Ok(Report::Started { pid, at }) => {
            inner.keep(task, child);
            Ok(Started { pid, at })
        }
        Ok(Report::Failed(error)) => {
            child.wait().ok();
            Err(error.into_failure(&launch))
        }
        Err(error) => {
            // Its program is tied to it and ends with it.
            child.kill().and_then(|()| child.wait()).ok();
            launch.group.kill();
            Err(Failure::io("hear from the task's supervisor".to_owned(), error))
        }
    }
}

/// The lock becomes the supervisor's standard input: it is held from now until the supervisor's
/// end, whatever becomes of this daemon.
fn spawn(inner: &Inner, dir: &RunDir, lock: File) -> io::Result<Child> {
    Command::new(&inner.config.supervisor)
        .arg0("swarm")
        .arg(supervisor::ARGUMENT)
        .arg(dir.path())
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(lock))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
}

fn report(child: &mut Child) -> io::Result<Report> {
    let ended = || io::Error::new(io::ErrorKind::UnexpectedEof, "it ended without a word");
    let stdout = child.stdout.take().ok_or_else(ended)?;
    let seconds = i64::try_from(START_DEADLINE.as_secs()).unwrap_or(i64::MAX);
    let timeout = Timespec { tv_sec: seconds, tv_nsec: 0 };
    if poll(&mut [PollFd::new(&stdout, PollFlags::IN)], Some(&timeout))? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let mut line = String::new();
    // The line is one write, so it is there as a whole.
    if BufReader::new(stdout.take(MAX_REPORT)).read_line(&mut line)? == 0 {
        return Err(ended());
    }
    Ok(serde_json::from_str(&line)?)
}
