//! Carries chunks between a keeper's daemon and the program that it keeps, until one of them, or the
//! task, has ended.
//!
//! One thread, one poll. Nothing is read while what was read before waits to be written, so memory is
//! bounded and whoever is slow slows the other. An end is seen even then.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read, write};
use rustix::pipe::fcntl_getpipe_size;
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};

use super::processes::{end_part, now};
use super::terminal;
use crate::chunk::{Chunk, DATA_MAX, Ended};
use crate::runtime::cgroup::Part;

/// Output that may wait for the daemon.
const WAITING_MAX: usize = 64 << 10;
/// How often those are reaped that the program left to the keeper.
const REAP: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// How long the last output is waited for: someone outside of the keeper's reach may hold its pipe.
const DRAIN: Duration = Duration::from_secs(2);
/// What a terminal holds of what its program wrote, at most.
const TERMINAL_MAX: usize = 64 << 10;
/// What a terminal takes for the end of input.
const END_OF_TRANSMISSION: &[u8] = &[4];
/// The exit code of what was killed.
const KILLED: u8 = 128 + 9;

/// The keeper's ends of the lines to the program.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) input: Option<OwnedFd>,
    pub(super) output: Option<OwnedFd>,
    pub(super) errors: Option<OwnedFd>,
    /// Its terminal, to be resized.
    pub(super) terminal: Option<OwnedFd>,
}

/// The state of the carrying.
#[derive(Debug)]
pub(super) struct Relay {
    lines: Lines,
    task: OwnedFd,
    child: Pid,
    /// Tells of the child's end.
    ended: OwnedFd,
    /// What it was born in.
    part: Part,
    status: Option<WaitStatus>,
    /// Nothing is carried to the program any more.
    over: bool,
    /// Read from the daemon, not understood yet.
    incoming: BytesMut,
    /// For the program's input.
    pending: Bytes,
    /// For the daemon.
    outgoing: BytesMut,
}

/// Why the carrying stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// The program has ended.
    Exited,
    /// The task has ended.
    TaskEnded,
    /// Nobody is interested any more.
    Abandoned,
}

/// What a look at all lines found.
#[derive(Debug, Default)]
struct Ready {
    control: bool,
    hung_up: bool,
    report: bool,
    input: bool,
    output: bool,
    errors: bool,
    task: bool,
}

impl Relay {
    pub(super) fn new(
        lines: Lines,
        task: OwnedFd,
        (child, ended): (Pid, OwnedFd),
        part: Part,
        incoming: BytesMut,
    ) -> Self {
        let (pending, outgoing) = Default::default();
        let (status, over) = (None, false);
        Self { lines, task, child, ended, part, status, over, incoming, pending, outgoing }
    }

    /// Carries until the end, ends all that is left, and tells the daemon how it ended.
    pub(super) fn run(mut self) {
        let stop = self.carry();
        self.over = true;
        end_part(&self.part);
        if stop == Stop::Abandoned || self.drain().is_err() {
            return;
        }
        let task_ended = || Ended {
            code: KILLED,
            message: "the task ended, and all that was started in it".to_owned(),
        };
        let ended = match (stop, self.status) {
            (Stop::Exited, Some(status)) => of_status(status),
            _ => task_ended(),
        };
        Chunk::Ended(ended).put(&mut self.outgoing);
        while !self.outgoing.is_empty() {
            if self.look(None).is_none_or(|ready| ready.hung_up || self.report().is_err()) {
                return;
            }
        }
    }

    fn carry(&mut self) -> Stop {
        loop {
            if self.understand().is_err() {
                return Stop::Abandoned;
            }
            let Some(ready) = self.look(Some(&REAP)) else { return Stop::Abandoned };
            self.reap();
            if ready.hung_up {
                return Stop::Abandoned;
            }
            // What kills the task kills this, too: then the task's end is the reason.
            let killed = self.status.is_some_and(|it| it.terminating_signal() == Some(9));
            if ready.task && (killed || self.status.is_none()) {
                return Stop::TaskEnded;
            }
            if self.status.is_some() {
                return Stop::Exited;
            }
            if self.serve(&ready).is_err() {
                return Stop::Abandoned;
            }
        }
    }

    /// Carries what is left of the output: no more than its lines hold, however much somebody goes on
    /// writing who could not be ended.
    fn drain(&mut self) -> Result<(), Errno> {
        self.lines.input = None;
        let mut held = [&self.lines.output, &self.lines.errors].map(capacity);
        let until = now() + DRAIN;
        while self.lines.output.is_some() || self.lines.errors.is_some() {
            // Later on what is there is still taken, but nothing waited for.
            let left = until.saturating_duration_since(now());
            let left = Timespec::try_from(left).map_err(|_far| Errno::INVAL)?;
            let waits = if self.outgoing.is_empty() { Some(&left) } else { None };
            let ready = self.look(waits).ok_or(Errno::IO)?;
            if ready.hung_up {
                return Err(Errno::PIPE);
            }
            if !(ready.output || ready.errors || ready.report) {
                return Ok(());
            }
            let read = self.serve(&ready)?;
            let lines = [&mut self.lines.output, &mut self.lines.errors];
            for ((line, held), read) in lines.into_iter().zip(&mut held).zip(read) {
                *held = held.saturating_sub(read);
                if *held == 0 {
                    *line = None;
                }
            }
        }
        Ok(())
    }

    /// Reads and writes what can be; gives how much of output and errors was read.
    fn serve(&mut self, ready: &Ready) -> Result<[usize; 2], Errno> {
        if ready.control {
            self.listen()?;
        }
        if ready.input {
            self.feed();
        }
        let mut read = [0; 2];
        if ready.output {
            read[0] = collect(&mut self.lines.output, Chunk::Output, &mut self.outgoing);
        }
        if ready.errors {
            read[1] = collect(&mut self.lines.errors, Chunk::Errors, &mut self.outgoing);
        }
        self.report()?;
        Ok(read)
    }

    /// Waits until something can be done; `None` when even that fails.
    fn look(&self, timeout: Option<&Timespec>) -> Option<Ready> {
        let room = self.outgoing.len() < WAITING_MAX;
        let over = self.over;
        let when = |wanted: bool, flags: PollFlags| if wanted { flags } else { PollFlags::empty() };
        let line = |line: &Option<OwnedFd>, wanted: bool| wanted && line.is_some();
        let lines = [
            (line(&self.lines.input, !self.pending.is_empty()), &self.lines.input, PollFlags::OUT),
            (line(&self.lines.output, room), &self.lines.output, PollFlags::IN),
            (line(&self.lines.errors, room), &self.lines.errors, PollFlags::IN),
        ];
        let (control, report) = (rustix::stdio::stdin(), rustix::stdio::stdout());
        // A hang-up is told without being asked for.
        let listening = self.pending.is_empty() && !over;
        let mut polled = vec![
            PollFd::from_borrowed_fd(control, when(listening, PollFlags::IN)),
            PollFd::from_borrowed_fd(report, when(!self.outgoing.is_empty(), PollFlags::OUT)),
        ];
        let wanted: [Option<BorrowedFd<'_>>; 5] = [
            lines[0].1.as_ref().filter(|_| lines[0].0).map(AsFd::as_fd),
            lines[1].1.as_ref().filter(|_| lines[1].0).map(AsFd::as_fd),
            lines[2].1.as_ref().filter(|_| lines[2].0).map(AsFd::as_fd),
            (!over).then(|| self.task.as_fd()),
            (!over).then(|| self.ended.as_fd()),
        ];
        for (at, fd) in wanted.iter().enumerate() {
            let flags = lines.get(at).map_or(PollFlags::IN, |(_, _, flags)| *flags);
            polled.extend(fd.map(|fd| PollFd::from_borrowed_fd(fd, flags)));
        }
        loop {
            match poll(&mut polled, timeout) {
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(_broken) => return None,
            }
        }
        let mut found = polled.iter().map(PollFd::revents);
        let mut next = || found.next().unwrap_or(PollFlags::empty());
        let (control, report) = (next(), next());
        let mut take = |wanted: Option<BorrowedFd<'_>>| wanted.is_some() && !next().is_empty();
        let [input, output, errors, task, _exited] = wanted.map(&mut take);
        let broken = PollFlags::ERR | PollFlags::NVAL;
        Some(Ready {
            control: control.contains(PollFlags::IN),
            hung_up: control.intersects(broken | PollFlags::HUP) || report.intersects(broken),
            report: report.contains(PollFlags::OUT),
            input,
            output,
            errors,
            task,
        })
    }

    /// Collects who has ended.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == self.child {
                self.status = Some(status);
            }
        }
    }

    /// Reads from the daemon.
    fn listen(&mut self) -> Result<(), Errno> {
        let mut part = [0; 4096];
        match read(rustix::stdio::stdin(), &mut part) {
            Ok(0) => Err(Errno::PIPE),
            Ok(count) => {
                self.incoming.extend_from_slice(&part[..count]);
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Does what the daemon said, up to input that has to wait.
    fn understand(&mut self) -> Result<(), Errno> {
        while self.pending.is_empty() {
            match Chunk::take(&mut self.incoming) {
                Ok(None) => return Ok(()),
                Ok(Some(Chunk::Input(data))) if self.lines.input.is_some() => self.pending = data,
                Ok(Some(Chunk::InputEnd)) if self.lines.terminal.is_some() => {
                    self.pending = Bytes::from_static(END_OF_TRANSMISSION);
                }
                Ok(Some(Chunk::InputEnd)) => self.lines.input = None,
                Ok(Some(Chunk::Resize(size))) => {
                    if let Some(master) = &self.lines.terminal {
                        terminal::resize(master, size).ok();
                    }
                }
                // Input that nobody reads any more, and signs of life.
                Ok(Some(Chunk::Input(_) | Chunk::Ping)) => {}
                Ok(Some(
                    Chunk::Output(_)
                    | Chunk::Errors(_)
                    | Chunk::OutputEnd
                    | Chunk::Ended(_)
                    | Chunk::Start(_),
                ))
                | Err(_) => return Err(Errno::INVAL),
            }
            if self.lines.input.is_none() {
                self.pending.clear();
            }
        }
        Ok(())
    }

    /// Writes to the program's input.
    fn feed(&mut self) {
        let Some(input) = &self.lines.input else { return };
        match write(input, &self.pending) {
            Ok(count) => self.pending.advance(count),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_closed) => {
                self.pending.clear();
                self.lines.input = None;
            }
        }
    }

    /// Writes to the daemon.
    fn report(&mut self) -> Result<(), Errno> {
        while !self.outgoing.is_empty() {
            match write(rustix::stdio::stdout(), &self.outgoing) {
                Ok(count) => self.outgoing.advance(count),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// How much a line may hold that was written and not read.
fn capacity(line: &Option<OwnedFd>) -> usize {
    let Some(line) = line else { return 0 };
    // What is no pipe is a terminal.
    fcntl_getpipe_size(line).unwrap_or(TERMINAL_MAX)
}

/// Reads what the program wrote: how much; its end closes the line.
fn collect(
    line: &mut Option<OwnedFd>,
    chunk: fn(Bytes) -> Chunk,
    outgoing: &mut BytesMut,
) -> usize {
    let Some(open) = line else { return 0 };
    let mut part = vec![0; DATA_MAX];
    match read(open, &mut part) {
        Ok(count) if count > 0 => {
            part.truncate(count);
            chunk(part.into()).put(outgoing);
            return count;
        }
        Err(Errno::AGAIN | Errno::INTR) => {}
        // A terminal that nobody has open any more fails with EIO.
        Ok(_) | Err(_) => *line = None,
    }
    0
}

/// What a shell makes of a program's end.
fn of_status(status: WaitStatus) -> Ended {
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => i32::from(KILLED),
    };
    Ended { code: u8::try_from(code & 0xff).unwrap_or(KILLED), message: String::new() }
}
