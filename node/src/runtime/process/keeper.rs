//! The keeper: a small process of its own that starts one more program in a running task, carries what
//! is said, and ends all of it with the task, with its daemon, or when the person is gone.
//!
//! It is what a supervisor is to a task, but it does not outlive the daemon: its standard input is the
//! daemon's hand on it. What it is told to start comes first; `relay` does the carrying.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::ExitCode;

use bytes::BytesMut;
use rustix::io::ioctl_fionbio;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};

use super::exec::ExecRecord;
use super::processes::end_part;
use super::record::LaunchRecord;
use super::relay::{Lines, Relay};
use super::report::{StartError, Step};
use super::spawn::{self, Birth};
use super::{isolate, supervisor, terminal};
use crate::chunk::{Chunk, Ended};

/// The first argument that makes this binary a keeper.
pub(super) const ARGUMENT: &str = "task-exec";
/// How its process is called.
const NAME: &std::ffi::CStr = c"task-exec";
/// Bytes read at once of what to start.
const PART: usize = 16 << 10;

/// Keeps one program. Standard input and output carry chunks.
pub(super) fn run() -> ExitCode {
    let Ok((record, incoming)) = asked() else { return ExitCode::from(2) };
    supervisor::detach(NAME);
    match start(&record, incoming) {
        Ok(relay) => relay.run(),
        Err(error) => {
            let failure = error.into_failure(&record.launch);
            let ended = Ended { code: failure.exec_code(), message: failure.to_line() };
            let mut last = BytesMut::new();
            Chunk::Ended(ended).put(&mut last);
            // A daemon that is gone does not need to know.
            io::stdout().lock().write_all(&last).ok();
        }
    }
    ExitCode::SUCCESS
}

/// What to start, and what came behind it.
fn asked() -> io::Result<(ExecRecord, BytesMut)> {
    let mut stdin = File::from(rustix::stdio::stdin().try_clone_to_owned()?);
    let mut incoming = BytesMut::new();
    let mut part = vec![0; PART];
    loop {
        match Chunk::take(&mut incoming) {
            Ok(Some(Chunk::Start(record))) => {
                return Ok((serde_json::from_slice(&record)?, incoming));
            }
            Ok(None) => {}
            Ok(Some(_)) | Err(_) => return Err(io::ErrorKind::InvalidData.into()),
        }
        match stdin.read(&mut part)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => incoming.extend_from_slice(&part[..count]),
        }
    }
}

fn start(record: &ExecRecord, incoming: BytesMut) -> Result<Relay, StartError> {
    let at = |step: Step| move |error: io::Error| step.failed(&error);
    supervisor::shelter(&record.launch).map_err(at(Step::Refuge))?;
    // Looked at before the fork: what is born after the task's end ends at once.
    let task = record.task.open().ok_or_else(|| Step::Group.failed(&gone()))?;
    let (lines, birth) = wire(record, &task).map_err(at(Step::Terminal))?;
    isolate::share_pids(&record.launch.namespaces, &task)
        .map_err(|error| Step::Namespaces.failed(&error.into()))?;
    let name = format!("exec-{}", getpid().as_raw_pid());
    let part = record.launch.group.part(&name).map_err(at(Step::Group))?;
    let launch = LaunchRecord { group: part.group.clone(), ..record.launch.clone() };
    let started = spawn::spawn(&launch, birth).and_then(|child| {
        let ended = watch(&lines, child).map_err(|error| Step::Fork.failed(&error))?;
        Ok((child, ended))
    });
    match started {
        Ok(program) => Ok(Relay::new(lines, task, program, part, incoming)),
        Err(error) => {
            end_part(&part);
            Err(error)
        }
    }
}

fn gone() -> io::Error {
    rustix::io::Errno::SRCH.into()
}

/// The keeper's ends of all lines to the program, and the program's.
fn wire(record: &ExecRecord, task: &OwnedFd) -> io::Result<(Lines, Birth)> {
    let beside = Some(task.try_clone()?);
    if let Some(size) = record.terminal {
        let terminal = terminal::open(size, record.launch.account.as_ref())?;
        let again = || terminal.master.try_clone();
        let lines = Lines {
            input: if record.input { Some(again()?) } else { None },
            output: Some(again()?),
            errors: None,
            terminal: Some(again()?),
        };
        let slave = || terminal.slave.try_clone();
        let (stdin, stdout, stderr) = (Some(slave()?), slave()?, slave()?);
        return Ok((lines, Birth { stdin, stdout, stderr, terminal: true, copy: None, beside }));
    }
    let pipe = || pipe_with(PipeFlags::CLOEXEC);
    let (stdin, input) =
        if record.input { pipe().map(|(a, b)| (Some(a), Some(b)))? } else { (None, None) };
    let ((output, stdout), (errors, stderr)) = (pipe()?, pipe()?);
    let lines = Lines { input, output: Some(output), errors: Some(errors), terminal: None };
    Ok((lines, Birth { stdin, stdout, stderr, terminal: false, copy: record.copy.clone(), beside }))
}

/// Makes all lines ready to be carried between; gives what tells of the child's end.
fn watch(lines: &Lines, child: Pid) -> io::Result<OwnedFd> {
    let (control, report) = (rustix::stdio::stdin(), rustix::stdio::stdout());
    let own = [&lines.input, &lines.output, &lines.errors];
    for line in own.into_iter().flatten().map(|line| line.as_fd()).chain([control, report]) {
        ioctl_fionbio(line, true)?;
    }
    Ok(pidfd_open(child, PidfdFlags::empty())?)
}
