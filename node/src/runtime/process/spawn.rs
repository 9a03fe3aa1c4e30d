//! Forks and executes the program of a task: born in its cgroup, in a session of its own, as its
//! user, and killed with its supervisor.
//!
//! With unsafe code, as `isolate` beside it: a fork that puts the child into a cgroup at birth. Joining
//! one later makes the kernel wait for an RCU grace period (measured: 8 ms), which is most of a start.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::Mode;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, Signal, getpid, getppid, ioctl_tiocsctty, set_parent_process_death_signal, setsid, umask,
};
use rustix::thread::{self, ThreadNameSpaceType, UnshareFlags, move_into_thread_name_spaces};
use swarm_model::runtime::Namespace;

use super::copy;
use super::isolate;
use super::record::LaunchRecord;
use super::report::{StartError, Step};
use crate::archive::Transfer;

/// Linux 5.7, `include/uapi/linux/sched.h`.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What a program is born with.
#[derive(Debug)]
pub(super) struct Birth {
    /// Its input; none at all when `None`.
    pub(super) stdin: Option<OwnedFd>,
    /// Its output.
    pub(super) stdout: OwnedFd,
    /// Its error output.
    pub(super) stderr: OwnedFd,
    /// Whether its input is a terminal that it is to be in control of.
    pub(super) terminal: bool,
    /// Copies files instead of becoming a program.
    pub(super) copy: Option<Transfer>,
    /// The program whose namespaces it joins; it gets those of its own that are asked for when `None`.
    pub(super) beside: Option<OwnedFd>,
}

/// Starts the program; returns when it is executed. The calling process must have one thread.
///
/// # Errors
/// The step that failed; no child is left then.
pub(super) fn spawn(launch: &LaunchRecord, mut birth: Birth) -> Result<Pid, StartError> {
    let fork_failed = |error: io::Error| Step::Fork.failed(&error);
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| fork_failed(error.into()))?;
    let supervisor = getpid();
    let Forked { child, in_group } = fork_into_group(launch).map_err(fork_failed)?;
    let Some(child) = child else {
        let late = launch.group.unified.as_deref().filter(|_group| !in_group);
        let StartError { step, errno } = match prepare_child(launch, &birth, late, supervisor) {
            Ok(()) => match birth.copy.take() {
                Some(transfer) => match copy::let_go(birth) {
                    // The keeper's line for what failed is closed with all others: all is well.
                    Ok(()) => leave(copy::run(&transfer)),
                    Err(error) => Step::Execute.failed(&error.into()),
                },
                None => Step::Execute.failed(&execute(launch, birth)),
            },
            Err((step, error)) => step.failed(&error),
        };
        let step = u8::try_from(step as usize).expect("there are few steps");
        let mut message = vec![step];
        message.extend_from_slice(&errno.to_le_bytes());
        // Nobody reads it if the supervisor is gone; then nothing matters.
        File::from(write).write_all(&message).ok();
        leave(127)
    };
    // The parent's copies of the pipes close here, so that the end of the child is seen.
    drop((birth, write));
    let mut message = Vec::new();
    File::from(read).read_to_end(&mut message).map_err(fork_failed)?;
    match message.split_first() {
        None => Ok(child),
        Some((step, errno)) => {
            rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty()).ok();
            let step = Step::ALL.get(usize::from(*step)).copied().unwrap_or(Step::Fork);
            let errno = errno.try_into().map_or(libc::EIO, i32::from_le_bytes);
            Err(StartError { step, errno })
        }
    }
}

/// In the child: becomes the program, or says why not.
fn execute(launch: &LaunchRecord, birth: Birth) -> io::Error {
    let mut command = Command::new(&launch.program);
    if let Some((name, arguments)) = launch.arguments.split_first() {
        command.arg0(name).args(arguments);
    }
    command
        .env_clear()
        .envs(launch.env.iter().map(|(name, value)| (OsStr::new(name), OsStr::new(value))))
        .stdin(birth.stdin.map_or_else(Stdio::null, Stdio::from))
        .stdout(birth.stdout)
        .stderr(birth.stderr)
        .exec()
}

/// In the child: every step up to the program. `late` is the v2 group that it was not born in.
fn prepare_child(
    launch: &LaunchRecord,
    birth: &Birth,
    late: Option<&Path>,
    supervisor: Pid,
) -> Result<(), (Step, io::Error)> {
    let at = |step: Step| move |error: rustix::io::Errno| (step, io::Error::from(error));
    setsid().map_err(at(Step::Session))?;
    if let Some(terminal) = birth.stdin.as_ref().filter(|_input| birth.terminal) {
        ioctl_tiocsctty(terminal).map_err(at(Step::Terminal))?;
    }
    for group in launch.group.joined.iter().map(PathBuf::as_path).chain(late) {
        join(&group.join("cgroup.procs")).map_err(|error| (Step::Group, error))?;
    }
    match &birth.beside {
        None => isolate::enter(&launch.namespaces).map_err(|error| (Step::Isolate, error))?,
        Some(program) => {
            isolate::share(&launch.namespaces, program).map_err(at(Step::Namespaces))?;
        }
    }
    // The supervisor protects itself from the out-of-memory killer; its program must not be.
    std::fs::write("/proc/self/oom_score_adj", "0").ok();
    umask(Mode::from_raw_mode(0o022));
    match (&launch.hostname, &birth.beside) {
        (Some(_same), Some(program)) => share_hostname(program).map_err(at(Step::Namespaces))?,
        (Some(hostname), None) => set_hostname(hostname).map_err(at(Step::Hostname))?,
        (None, _) => {}
    }
    // The task's own directory lies where only root may look, so it is entered before the change
    // of user; any other must be open to the task's user.
    let enter =
        || std::env::set_current_dir(&launch.workdir).map_err(|error| (Step::Workdir, error));
    if launch.own_workdir {
        enter()?;
    }
    if let Some(account) = &launch.account {
        let groups: Vec<_> = account.groups.iter().map(|gid| thread::Gid::from_raw(*gid)).collect();
        thread::set_thread_groups(&groups).map_err(at(Step::Account))?;
        thread::set_thread_gid(thread::Gid::from_raw(account.gid)).map_err(at(Step::Account))?;
        thread::set_thread_uid(thread::Uid::from_raw(account.uid)).map_err(at(Step::Account))?;
    }
    if !launch.own_workdir {
        enter()?;
    }
    // After the change of user, which would clear it.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(at(Step::Bond))?;
    // Out of a pid namespace of its own the parent is not seen, unless it has ended.
    let bond = (!launch.namespaces.contains(&Namespace::Pid)).then_some(supervisor);
    if getppid() != bond {
        return Err((Step::Bond, io::ErrorKind::BrokenPipe.into()));
    }
    Ok(())
}

/// Takes the host name of a program that has one of its own, if it does.
fn share_hostname(program: &OwnedFd) -> rustix::io::Result<()> {
    let hostname = ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME;
    match move_into_thread_name_spaces(program.as_fd(), hostname) {
        // Who may not join could not make one, either.
        Err(rustix::io::Errno::PERM) => Ok(()),
        joined => joined,
    }
}

/// Gives the task a host name of its own. Without the right to do so only `HOSTNAME` tells it.
fn set_hostname(hostname: &str) -> rustix::io::Result<()> {
    match isolate::unshare(UnshareFlags::NEWUTS) {
        Err(rustix::io::Errno::PERM) => Ok(()),
        Err(error) => Err(error),
        Ok(()) => rustix::system::sethostname(hostname.as_bytes()),
    }
}

/// Moves this process into the group with this `cgroup.procs` file.
pub(super) fn join(procs: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).open(procs)?.write_all(b"0")
}

/// `struct clone_args` of `include/uapi/linux/sched.h`, its second version.
#[repr(C)]
#[derive(Debug, Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Both sides of a fork.
struct Forked {
    /// `None` in the child.
    child: Option<Pid>,
    /// Whether the child was born in the task's v2 group.
    in_group: bool,
}

fn fork_into_group(launch: &LaunchRecord) -> io::Result<Forked> {
    if let Some(group) = &launch.group.unified {
        let directory = File::open(group)?;
        // Refused: an old kernel, or a sandbox that does not know the call. Then it joins late.
        if let Ok(child) = clone_into(&directory) {
            return Ok(Forked { child, in_group: true });
        }
    }
    Ok(Forked { child: fork()?, in_group: false })
}

#[expect(unsafe_code, reason = "neither std nor rustix can clone into a cgroup")]
fn clone_into(group: &File) -> io::Result<Option<Pid>> {
    let arguments = CloneArgs {
        flags: CLONE_INTO_CGROUP,
        exit_signal: libc::SIGCHLD.unsigned_abs().into(),
        cgroup: group.as_raw_fd().unsigned_abs().into(),
        ..CloneArgs::default()
    };
    // SAFETY: without CLONE_VM and with no stack given this is fork(2): the child goes on here on a
    // copy of the memory. The supervisor has one thread, so no lock is held by one that the child
    // lacks. The arguments live through the call and are of the size that is told.
    let pid =
        unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArgs>()) };
    outcome(pid)
}

#[expect(unsafe_code, reason = "the fallback of clone_into")]
pub(super) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: the supervisor has one thread, so the child may use all of the library.
    outcome(i64::from(unsafe { libc::fork() }))
}

fn outcome(pid: i64) -> io::Result<Option<Pid>> {
    match i32::try_from(pid) {
        Ok(0) => Ok(None),
        Ok(pid) if pid > 0 => Ok(Pid::from_raw(pid)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Ends the child without running what the parent registered for its own end.
#[expect(unsafe_code, reason = "std's exit would run the parent's handlers in the child")]
pub(super) fn leave(code: i32) -> ! {
    // SAFETY: ends the process at once; nothing is used afterwards.
    unsafe { libc::_exit(code) }
}
