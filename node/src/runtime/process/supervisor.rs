//! The supervisor: a small process of its own that starts one task's program, keeps its output,
//! reaps it and records how it ended. It outlives the daemon.
//!
//! It decides nothing and is told nothing: the daemon reads its files, and signals the program
//! directly. No async runtime, one thread until the program runs.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, WaitStatus, getpid, set_child_subreaper, wait};
use swarm_model::clock::Clock;
use swarm_model::runtime::Namespace;
use swarm_model::units::Timestamp;

use super::isolate::Init;
use super::processes::{ProcessRef, boot_id, end_tree};
use super::record::{LaunchRecord, RunDir, StartRecord};
use super::report::{Report, StartError, Step};
use super::{keeper, prober, pump, spawn};
use crate::logs::LogWriter;
use crate::runtime::Exit;

/// The first argument that makes this binary a supervisor; the second is the run directory.
pub const ARGUMENT: &str = "task-supervisor";
/// How its process is called, so that `killall swarm` spares it.
const NAME: &std::ffi::CStr = c"task-supervisor";
/// How long the last output is waited for: someone outside of the task may hold its pipe.
const DRAIN: Duration = Duration::from_secs(2);

/// Runs as a supervisor, a keeper or a prober, when `arguments` (the program's name first) ask for it. To
/// be called first in `main`, before any thread is started.
pub fn run_if_asked(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    match arguments.nth(1)? {
        asked if asked == ARGUMENT => Some(run(arguments)),
        asked if asked == keeper::ARGUMENT => Some(keeper::run()),
        asked if asked == prober::ARGUMENT => Some(prober::run(arguments)),
        _ => None,
    }
}

/// Supervises the task whose run directory is the first of `arguments`. Its standard input holds
/// the directory's lock; its standard output takes one [`Report`].
pub fn run(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(path) = arguments.next() else { return ExitCode::from(2) };
    let dir = RunDir::new(PathBuf::from(path));
    detach(NAME);
    let (report, running) = match start(&dir) {
        Ok(running) => {
            let pid = running.program.as_raw_pid().unsigned_abs();
            (Report::Started { pid, at: running.at }, Some(running))
        }
        Err(error) => (Report::Failed(error), None),
    };
    tell(&report);
    let Some(running) = running else { return ExitCode::FAILURE };
    match supervise(&dir, running) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_unrecorded) => ExitCode::FAILURE,
    }
}

/// A program that was started.
struct Running {
    program: Pid,
    at: Timestamp,
    launch: LaunchRecord,
    /// Of its pid namespace.
    init: Option<Init>,
    exit_file: File,
    output: Receiver<()>,
}

/// The system's clock: a supervisor is no part of a simulation.
#[derive(Debug)]
struct WallClock;

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "the supervisor is a process of its own")]
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Timestamp::default().after(since_epoch.unwrap_or_default())
    }
}

/// Leaves everything that could end it together with the daemon, and is called `name`.
pub(super) fn detach(name: &std::ffi::CStr) {
    // It is no session leader yet; and without these it still works, only less well protected.
    rustix::process::setsid().ok();
    rustix::thread::set_name(name).ok();
    set_child_subreaper(Some(getpid())).ok();
    fs::write("/proc/self/oom_score_adj", "-500").ok();
}

/// Goes where ending the daemon's service spares it.
pub(super) fn shelter(launch: &LaunchRecord) -> io::Result<()> {
    launch.refuge.iter().try_for_each(|group| spawn::join(&group.join("cgroup.procs")))
}

fn start(dir: &RunDir) -> Result<Running, StartError> {
    let at = |step: Step| move |error: io::Error| step.failed(&error);
    let launch = dir.launch().map_err(at(Step::Launch))?;
    shelter(&launch).map_err(at(Step::Refuge))?;
    let log = LogWriter::open(launch.log_dir.clone(), launch.log, Arc::new(WallClock))
        .map_err(at(Step::Log))?;
    let exit_file = dir.reserve_exit().map_err(at(Step::Record))?;
    let asks = launch.namespaces.contains(&Namespace::Pid);
    let init = asks.then(Init::start).transpose().map_err(at(Step::Isolate))?;
    let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|error| Step::Fork.failed(&error.into()));
    let (stdout, stdout_end) = pipe()?;
    let (stderr, stderr_end) = pipe()?;
    let birth = spawn::Birth {
        stdin: None,
        stdout: stdout_end,
        stderr: stderr_end,
        terminal: false,
        copy: None,
        beside: None,
    };
    let program = spawn::spawn(&launch, birth)?;
    let now = WallClock.now();
    let recorded = init
        .as_ref()
        .map_or(Ok(()), |_inside| Init::let_go())
        .and_then(|()| record_start(dir, program, now))
        .and_then(|()| pump::start(stdout, stderr, log));
    match recorded {
        Ok(output) => Ok(Running { program, at: now, launch, init, exit_file, output }),
        Err(error) => {
            // Without a record nobody could adopt it: better none.
            drop(init);
            end_tree(|| launch.group.kill());
            Err(Step::Record.failed(&error))
        }
    }
}

fn record_start(dir: &RunDir, program: Pid, at: Timestamp) -> io::Result<()> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    dir.write_start(&StartRecord {
        supervisor: ProcessRef::of(getpid()).ok_or_else(gone)?,
        program: ProcessRef::of(program).ok_or_else(gone)?,
        boot_id: boot_id(),
        at,
    })
}

/// Tells the daemon, then lets go of the pipe to it.
fn tell(report: &Report) {
    let mut line = serde_json::to_vec(report).unwrap_or_default();
    line.push(b'\n');
    // A daemon that died meanwhile finds the start record.
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line).and_then(|()| stdout.flush()).ok();
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        rustix::stdio::dup2_stdout(&null).ok();
    }
}

/// Waits for the program's end, ends what it left, and records it.
fn supervise(dir: &RunDir, running: Running) -> io::Result<()> {
    let status = loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == running.program => break Some(status),
            // An orphan of the task.
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            // No child at all: cannot be while the program was not reaped.
            Err(_none) => break None,
        }
    };
    let at = WallClock.now();
    drop(running.init);
    end_tree(|| running.launch.group.kill());
    running.output.recv_timeout(DRAIN).ok();
    let exit = Exit {
        code: status.and_then(WaitStatus::exit_status),
        signal: status.and_then(WaitStatus::terminating_signal),
        oom_killed: running.launch.group.had_oom_kill(),
        at,
    };
    // Empty now; what the kernel still holds, the daemon's `remove` tries again.
    running.launch.group.remove().ok();
    dir.write_exit(running.exit_file, &exit)
}
