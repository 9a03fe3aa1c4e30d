//! Carries a program's output from its pipes into its log.
//!
//! Runs in a thread of the supervisor of its own, so that reaping never waits for the disk.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, sync_channel};
use std::{io, thread};

use rustix::event::{PollFd, PollFlags, poll};

use crate::logs::{LogStream, LogWriter};

/// Bytes read at once: what a pipe holds by default.
const CHUNK: usize = 64 * 1024;

/// Starts the pump; the receiver hears when both pipes have ended and all is written.
pub(super) fn start(stdout: OwnedFd, stderr: OwnedFd, log: LogWriter) -> io::Result<Receiver<()>> {
    let (done, heard) = sync_channel(1);
    let streams = [(LogStream::Stdout, stdout), (LogStream::Stderr, stderr)];
    let open = streams.map(|(stream, pipe)| (stream, File::from(pipe))).into();
    thread::Builder::new().name("output".into()).spawn(move || {
        pump(open, log);
        done.send(()).ok();
    })?;
    Ok(heard)
}

fn pump(mut open: Vec<(LogStream, File)>, mut log: LogWriter) {
    let mut chunk = vec![0; CHUNK];
    while !open.is_empty() {
        let mut polled: Vec<PollFd<'_>> =
            open.iter().map(|(_, pipe)| PollFd::new(pipe, PollFlags::IN)).collect();
        match poll(&mut polled, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_broken) => break,
        }
        let ready: Vec<bool> = polled.iter().map(|polled| !polled.revents().is_empty()).collect();
        let mut ready = ready.into_iter();
        open.retain_mut(|(stream, pipe)| {
            if !ready.next().unwrap_or(false) {
                return true;
            }
            match pipe.read(&mut chunk) {
                Ok(0) => false,
                Ok(count) => {
                    log.push(*stream, &chunk[..count]);
                    true
                }
                Err(error) => error.kind() == ErrorKind::Interrupted,
            }
        });
        log.flush();
    }
    log.finish();
}
