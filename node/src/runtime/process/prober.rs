//! The prober: a small process of its own that runs one probe's command as a part of a task, for as
//! long as it may take, and ends all that came of it.
//!
//! It is a child of the daemon, and lives no longer than that: its standard input is a pipe that the
//! daemon holds. One thread, no async runtime. What the answer means is not its business.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, WaitOptions, WaitStatus, getpid, pidfd_open, waitpid};
use swarm_model::probe::PROBE_TEXT_MAX;

use super::processes::{end_part, now};
use super::record::{LaunchRecord, RunDir};
use super::report::{StartError, Step};
use super::spawn::{self, Birth};
use super::{isolate, resolve, supervisor};
use crate::runtime::Exit;
use crate::runtime::probe::{Answer, OUTPUT_MAX, late};

/// The first argument that makes this binary a prober; then run directory, milliseconds, command.
pub(super) const ARGUMENT: &str = "task-probe";
/// How its process is called, so that `killall swarm` spares it.
const NAME: &std::ffi::CStr = c"task-probe";

/// Runs one probe and tells its [`Answer`] on the standard output.
pub(super) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let Some(question) = Question::parse(arguments) else { return ExitCode::from(2) };
    supervisor::detach(NAME);
    let answer = question.ask().unwrap_or_else(|answer| answer);
    let mut line = serde_json::to_vec(&answer).unwrap_or_default();
    line.push(b'\n');
    // A daemon that is gone needs no answer.
    match io::stdout().lock().write_all(&line) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_nobody_listens) => ExitCode::FAILURE,
    }
}

/// What is to be asked.
struct Question {
    dir: RunDir,
    within: Duration,
    words: Vec<String>,
}

/// How waiting for the command ended.
enum End {
    /// By its own end.
    Own(Option<WaitStatus>),
    /// Its time is over.
    Late,
    /// The daemon is gone, or does not want to know any more.
    Unwanted,
}

impl Question {
    fn parse(mut arguments: impl Iterator<Item = OsString>) -> Option<Self> {
        let dir = RunDir::new(PathBuf::from(arguments.next()?));
        let within = Duration::from_millis(arguments.next()?.to_str()?.parse().ok()?);
        let words = arguments.map(OsString::into_string).collect::<Result<Vec<_>, _>>().ok()?;
        (!words.is_empty()).then_some(Self { dir, within, words })
    }

    fn ask(self) -> Result<Answer, Answer> {
        let unknown = |what: &str, error: &io::Error| Answer::Unknown(format!("{what}: {error}"));
        let launch =
            self.dir.launch().map_err(|error| unknown("cannot read the task's record", &error))?;
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let started = self.dir.start().and_then(|start| start.program.open().ok_or_else(gone));
        let task = started.map_err(|error| unknown("cannot find the task's program", &error))?;
        let path = launch.env.iter().rfind(|(name, _)| name == "PATH").map_or("", |(_, it)| it);
        let name = self.words.first().map_or("", String::as_str);
        let program = resolve::program(name, path, &launch.workdir)
            .map_err(|failure| Answer::Failed(failure.to_line()))?;
        let part = launch
            .group
            .part(&format!("probe-{}", getpid().as_raw_pid()))
            .map_err(|error| unknown("cannot make a cgroup", &error))?;
        let group = part.group.clone();
        let arguments = self.words;
        let record = LaunchRecord { program, arguments, group, ..launch };
        let answer = attend(&record, task, self.within);
        end_part(&part);
        answer
    }
}

/// Starts the command beside the program of `task`, in its namespaces, and waits for it.
fn attend(record: &LaunchRecord, task: OwnedFd, within: Duration) -> Result<Answer, Answer> {
    let began = now();
    let broken = |error: io::Error| Answer::Unknown(format!("cannot wait for the probe: {error}"));
    let (output, end) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| broken(error.into()))?;
    rustix::io::ioctl_fionbio(&output, true).map_err(|error| broken(error.into()))?;
    let other = end.try_clone().map_err(broken)?;
    isolate::share_pids(&record.namespaces, &task).map_err(|error| broken(error.into()))?;
    let beside = Some(task);
    let birth =
        Birth { stdin: None, stdout: end, stderr: other, terminal: false, copy: None, beside };
    let child = spawn::spawn(record, birth).map_err(|error| not_started(error, record))?;
    let mut said = Said { output: File::from(output), text: Vec::new(), is_over: false };
    match wait_for(child, &mut said, began + within).map_err(broken)? {
        End::Own(status) => Ok(verdict(status, &said.text)),
        End::Late => Ok(with_output(late(within), &said.text)),
        End::Unwanted => Err(Answer::Unknown("nobody wants to know any more".to_owned())),
    }
}

/// What it says of the task that the command was not started.
fn not_started(error: StartError, record: &LaunchRecord) -> Answer {
    let step = error.step;
    let why = error.into_failure(record).to_line();
    match step {
        Step::Account | Step::Workdir | Step::Execute => Answer::Failed(why),
        Step::Launch
        | Step::Refuge
        | Step::Log
        | Step::Fork
        | Step::Session
        | Step::Group
        | Step::Isolate
        | Step::Hostname
        | Step::Bond
        | Step::Record
        | Step::Terminal
        | Step::Namespaces => Answer::Unknown(why),
    }
}

fn wait_for(child: Pid, said: &mut Said, deadline: Instant) -> io::Result<End> {
    let process = pidfd_open(child, PidfdFlags::empty())?;
    let stdin = io::stdin();
    loop {
        let left = deadline.saturating_duration_since(now());
        if left.is_zero() {
            return Ok(End::Late);
        }
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let mut watched = vec![
            PollFd::new(&process, PollFlags::IN),
            PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::empty()),
        ];
        if !said.is_over {
            watched.push(PollFd::from_borrowed_fd(said.output.as_fd(), PollFlags::IN));
        }
        match poll(&mut watched, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [ended, unwanted] = [0, 1].map(|at: usize| !watched[at].revents().is_empty());
        said.listen();
        if ended {
            return Ok(End::Own(waitpid(Some(child), WaitOptions::empty())?.map(|(_, it)| it)));
        }
        if unwanted {
            return Ok(End::Unwanted);
        }
    }
}

/// What the command writes: the first part is kept, the rest is let go so that it is not held up.
struct Said {
    output: File,
    text: Vec<u8>,
    /// Nobody can write any more.
    is_over: bool,
}

impl Said {
    /// Reads what is there.
    fn listen(&mut self) {
        let mut part = [0; OUTPUT_MAX];
        // A bound for each turn: the deadline has to be looked at.
        for _turn in 0..16 {
            match self.output.read(&mut part) {
                Ok(length) if length > 0 => {
                    let room = OUTPUT_MAX - self.text.len();
                    self.text.extend_from_slice(&part[..length.min(room)]);
                }
                Ok(_end) => {
                    self.is_over = true;
                    return;
                }
                Err(_nothing_yet) => return,
            }
        }
    }
}

/// What an end by itself means.
fn verdict(status: Option<WaitStatus>, text: &[u8]) -> Answer {
    let code = status.and_then(WaitStatus::exit_status);
    let signal = status.and_then(WaitStatus::terminating_signal);
    let exit = Exit { code, signal, oom_killed: false, at: Default::default() };
    match exit.describe(&Default::default()) {
        None => Answer::Passed,
        Some(end) => with_output(Answer::Failed(end), text),
    }
}

/// A failure with what the command wrote.
fn with_output(answer: Answer, text: &[u8]) -> Answer {
    let Answer::Failed(why) = answer else { return answer };
    let text = String::from_utf8_lossy(text);
    let words: Vec<_> = text.split(|c: char| c.is_whitespace() || c.is_control()).collect();
    let words = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let mut why = if words.is_empty() { why } else { format!("{why}: {words}") };
    why.truncate(why.floor_char_boundary(PROBE_TEXT_MAX));
    Answer::Failed(why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::process::record::parse;

    #[test]
    fn only_what_is_the_task_s_own_fault_counts_against_it() {
        let record: LaunchRecord = parse(
            br#"{"format":1,"record":{"task":"0000000000000000000000003","program":"/bin/a",
            "arguments":["a"],"env":[],"account":null,"workdir":"/","own_workdir":false,
            "hostname":null,"group":{"unified":null,"joined":[],"freezer":null,"memory":null},
            "refuge":[],"log_dir":"/l","log":{"max_file":1048576,"max_files":3}}}"#,
        )
        .expect("is one");
        let own = [Step::Account, Step::Workdir, Step::Execute];
        for step in Step::ALL {
            let answer = not_started(StartError { step, errno: libc::EAGAIN }, &record);
            assert_eq!(matches!(answer, Answer::Failed(_)), own.contains(&step), "{answer:?}");
            assert_eq!(matches!(answer, Answer::Unknown(_)), !own.contains(&step), "{answer:?}");
        }
    }
}
