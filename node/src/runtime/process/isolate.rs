//! Private namespaces of a task: what of the machine its program sees for itself.
//!
//! A private pid namespace ends with its first process, whatever hides in it. That one is no program of
//! the user's: it would not hear signals without a handler, and would have to reap. It is a fork of the
//! supervisor that sleeps until the supervisor is gone.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, getegid, geteuid, kill_process};
use rustix::thread::{
    self, LinkNameSpaceType, ThreadNameSpaceType, UnshareFlags, move_into_thread_name_spaces,
};
use swarm_model::runtime::Namespace;

use super::descriptors;
use super::spawn::{fork, leave};

/// How the first process of a pid namespace is called.
const NAME: &std::ffi::CStr = c"task-init";

/// The first process of a task's pid namespace. It ends with this value, and all others with it.
#[derive(Debug)]
pub(super) struct Init {
    pid: Pid,
    /// Its end of the pipe hangs up when the supervisor ends, however that happens.
    _tie: OwnedFd,
}

impl Init {
    /// Makes the namespace. Programs that are forked until [`Init::let_go`] are born in it.
    ///
    /// # Errors
    /// When the kernel does not let this process.
    pub(super) fn start() -> io::Result<Self> {
        let (theirs, tie) = pipe_with(PipeFlags::CLOEXEC)?;
        unshare(UnshareFlags::NEWPID)?;
        match fork()? {
            Some(pid) => Ok(Self { pid, _tie: tie }),
            None => {
                drop(tie);
                be_init(theirs)
            }
        }
    }

    /// From now on what is forked stays outside; only so can this process have threads again.
    pub(super) fn let_go() -> io::Result<()> {
        let own = File::open("/proc/self/ns/pid")?;
        Ok(thread::move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::ProcessID))?)
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        // The kernel ends all that is in the namespace before this one counts as ended.
        kill_process(self.pid, Signal::KILL).ok();
    }
}

/// Sleeps until the supervisor is gone. Orphans are reaped by the kernel.
fn be_init(theirs: OwnedFd) -> ! {
    thread::set_name(NAME).ok();
    reap_by_itself();
    // The supervisor's lock and its log among them.
    descriptors::keep_input(theirs);
    let tie = rustix::stdio::stdin();
    while poll(&mut [PollFd::new(&tie, PollFlags::empty())], None) == Err(Errno::INTR) {}
    leave(127)
}

/// In the child, before it changes its user: leaves what it shall not share.
///
/// # Errors
/// What the kernel, or a sandbox, does not let it do.
pub(super) fn enter(namespaces: &BTreeSet<Namespace>) -> io::Result<()> {
    let asked = |one| namespaces.contains(&one);
    if namespaces.is_empty() {
        return Ok(());
    }
    if !geteuid().is_root() {
        become_owner()?;
    }
    let (pid, ipc, net) = (asked(Namespace::Pid), asked(Namespace::Ipc), asked(Namespace::Net));
    if pid || ipc || asked(Namespace::Mount) {
        unshare(UnshareFlags::NEWNS)?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    }
    let plain = MountFlags::NOSUID | MountFlags::NODEV;
    if pid {
        mount("proc", "/proc", "proc", plain | MountFlags::NOEXEC, None)?;
    }
    if ipc {
        unshare(UnshareFlags::NEWIPC)?;
        if fs::metadata("/dev/shm").is_ok() {
            mount("shm", "/dev/shm", "tmpfs", plain, Some(c"mode=1777"))?;
        }
    }
    if net {
        unshare(UnshareFlags::NEWNET)?;
        set_loopback_up()?;
    }
    Ok(())
}

/// In the keeper of one more program for a task: what it forks from now on is born in the pid namespace of
/// the task's program.
///
/// # Errors
/// What the kernel does not let it do.
pub(super) fn share_pids(namespaces: &BTreeSet<Namespace>, program: &OwnedFd) -> Result<(), Errno> {
    if !namespaces.contains(&Namespace::Pid) {
        return Ok(());
    }
    move_into_thread_name_spaces(program.as_fd(), ThreadNameSpaceType::PROCESS_ID)
}

/// In the child of such a keeper: joins what else the task's program has for itself.
///
/// # Errors
/// What the kernel does not let it do.
pub(super) fn share(namespaces: &BTreeSet<Namespace>, program: &OwnedFd) -> Result<(), Errno> {
    let asked = |one| namespaces.contains(&one);
    let mut kinds = ThreadNameSpaceType::empty();
    // As they were made by `enter`.
    let mounts = asked(Namespace::Mount) || asked(Namespace::Pid) || asked(Namespace::Ipc);
    kinds.set(ThreadNameSpaceType::MOUNT, mounts);
    kinds.set(ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION, asked(Namespace::Ipc));
    kinds.set(ThreadNameSpaceType::NETWORK, asked(Namespace::Net));
    kinds.set(ThreadNameSpaceType::USER, !kinds.is_empty() && !geteuid().is_root());
    if kinds.is_empty() {
        return Ok(());
    }
    move_into_thread_name_spaces(program.as_fd(), kinds)
}

/// Without root: a user namespace in which this user owns what it makes, and is still itself.
fn become_owner() -> io::Result<()> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    unshare(UnshareFlags::NEWUSER)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}

#[expect(unsafe_code, reason = "rustix marks unshare unsafe because of CLONE_FILES")]
pub(super) fn unshare(what: UnshareFlags) -> rustix::io::Result<()> {
    debug_assert!(!what.contains(UnshareFlags::FILES), "descriptors stay shared");
    // SAFETY: no file descriptors are unshared.
    unsafe { thread::unshare_unsafe(what) }
}

/// Children that end leave no zombies, adopted ones included.
#[expect(unsafe_code, reason = "rustix has no signal dispositions")]
fn reap_by_itself() {
    // SAFETY: no handler is installed, and this process has one thread.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Brings `lo` up, which a new network namespace has down.
#[expect(unsafe_code, reason = "rustix has no interface flags")]
fn set_loopback_up() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: all of it may be zero.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo\0") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_flags = i16::try_from(libc::IFF_UP).unwrap_or_default();
    let socket = std::os::fd::AsRawFd::as_raw_fd(&socket);
    // SAFETY: the request lives through the call and is of the kind that it takes.
    match unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
