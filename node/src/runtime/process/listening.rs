//! Where a task listens: the sockets that its processes hold, in the kernel's list of those that listen.
//!
//! So a port is reached through a task only when it is the task's own, whatever else the machine has on it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::net::{self, IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use swarm_model::id::TaskId;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::census::Census;
use super::{Inner, blocking, usage};
use crate::runtime::Failure;

/// How long the task may take to accept.
const PATIENCE: Duration = Duration::from_secs(3);
/// The state of a socket that listens.
const LISTENS: &str = "0A";

/// Connects to `port` of a running task.
pub(super) async fn connect(
    inner: Arc<Inner>,
    task: TaskId,
    port: u16,
) -> Result<TcpStream, Failure> {
    let found = blocking(move || find(&inner, task, port)).await?;
    let tried = timeout(PATIENCE, any(found)).await;
    let opened = tried.unwrap_or_else(|_late| Err(io::ErrorKind::TimedOut.into()));
    opened.map_err(|error| Failure::io(format!("connect to port {port} of task {task}"), error))
}

/// The first address that accepts.
async fn any(found: Vec<Way>) -> io::Result<TcpStream> {
    let mut last = io::ErrorKind::ConnectionRefused.into();
    for Way { socket, at } in found {
        match TcpSocket::from_std_stream(net::TcpStream::from(socket)).connect(at).await {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// A way to a task: a socket in its network, and where it listens there.
#[derive(Debug)]
struct Way {
    socket: OwnedFd,
    at: SocketAddr,
}

/// The ways to `port` of a running task. Blocking.
fn find(inner: &Inner, task: TaskId, port: u16) -> Result<Vec<Way>, Failure> {
    let pids = usage::pids(inner, task, &Census::default())?;
    let own: BTreeSet<u64> = pids.iter().flat_map(|pid| sockets(*pid)).collect();
    // The task's network is that of its first process: another that one of them makes is not looked into.
    let first = pids.first().copied().unwrap_or_default();
    let tables = ["tcp", "tcp6"].map(|table| format!("/proc/{first}/net/{table}"));
    let all: Vec<SocketAddr> = tables
        .iter()
        .flat_map(|table| listeners(table))
        .filter(|(_, inode)| own.contains(inode))
        .map(|(addr, _)| addr)
        .collect();
    let found = all.iter().find(|addr| addr.port() == port);
    let ways = found.map(|addr| reachable(*addr)).ok_or_else(|| Failure::NotListening {
        task,
        port,
        ports: all.iter().map(SocketAddr::port).collect(),
    })?;
    let joined = |error| Failure::io(format!("join the network of task {task}"), error);
    match network(first).map_err(joined)? {
        Some(network) => inside(network, ways),
        None => open(ways),
    }
    .map_err(joined)
}

/// Who listens in the network of a process. The kernel tells of them first, and of what is connected, which
/// may be a hundred thousand, afterwards.
fn listeners(table: &str) -> Vec<(SocketAddr, u64)> {
    let Ok(file) = File::open(table) else { return Vec::new() };
    let lines = BufReader::new(file).lines().map_while(Result::ok);
    lines.skip(1).map_while(|line| listener(&line)).collect()
}

/// Sockets of this thread's network.
fn open(ways: Vec<SocketAddr>) -> io::Result<Vec<Way>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let way = |at: SocketAddr| {
        let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        Ok(Way { socket, at })
    };
    // Without one of both families the other may do.
    let opened: Vec<io::Result<Way>> = ways.into_iter().map(way).collect();
    if opened.iter().any(Result::is_ok) {
        return Ok(opened.into_iter().flatten().collect());
    }
    opened.into_iter().collect()
}

/// The network of a process, unless it is this one's.
fn network(pid: i32) -> io::Result<Option<File>> {
    let (own, other) = ("/proc/self/ns/net", format!("/proc/{pid}/ns/net"));
    if fs::read_link(own)? == fs::read_link(&other)? {
        return Ok(None);
    }
    File::open(other).map(Some)
}

/// Sockets of another network: made on a thread of its own, which ends there.
fn inside(network: File, ways: Vec<SocketAddr>) -> io::Result<Vec<Way>> {
    let thread = thread::Builder::new().name("forward".to_owned()).spawn(move || {
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
        open(ways)
    })?;
    thread.join().unwrap_or_else(|_panic| Err(io::Error::other("its thread ended")))
}

/// The inodes of a process's sockets.
fn sockets(pid: i32) -> Vec<u64> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let links = files.filter_map(|file| fs::read_link(file.path()).ok());
    let inode = |link: std::path::PathBuf| {
        link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    links.filter_map(inode).collect()
}

/// A line of the kernel's list: the address and the inode of a socket that listens.
fn listener(line: &str) -> Option<(SocketAddr, u64)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_number, local, _remote, state, _queues, _timer, _retries, _uid, _timeout, inode, ..] =
        fields[..]
    else {
        return None;
    };
    if state != LISTENS {
        return None;
    }
    let (addr, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((SocketAddr::new(address(addr)?, port), inode.parse().ok()?))
}

/// Words of four bytes, each in the machine's own order.
fn address(text: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(text.get(at * 8..at * 8 + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(Ipv6Addr::from(bytes).to_canonical())
        }
        _ => None,
    }
}

/// Who listens everywhere is reached on the loopback device: by both families where it listens for both.
fn reachable(addr: SocketAddr) -> Vec<SocketAddr> {
    let (four, six) = (IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST));
    let ways = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![four],
        IpAddr::V6(ip) if ip.is_unspecified() => vec![six, four],
        ip => vec![ip],
    };
    ways.into_iter().map(|ip| SocketAddr::new(ip, addr.port())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_that_listen_are_read_as_the_kernel_writes_them() {
        let check = |local: &str, state: &str, expect: Option<&str>| {
            let line = format!(
                "  0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 0 0 77 1 0"
            );
            let expect = expect.map(|addr| (addr.parse().unwrap(), 77));
            assert_eq!(listener(&line), expect, "{line}");
        };
        check("0100007F:1F90", "0A", Some("127.0.0.1:8080"));
        check("00000000:0050", "0A", Some("0.0.0.0:80"));
        check("00000000000000000000000001000000:0050", "0A", Some("[::1]:80"));
        check("0000000000000000FFFF00000100007F:0050", "0A", Some("127.0.0.1:80"));
        check("0100007F:1F90", "01", None);
        check("01:1F90", "0A", None);
        assert_eq!(listener("  sl  local_address rem_address   st tx_queue rx_queue"), None);
        let ways = |addr: &str| {
            let ways = reachable(addr.parse().unwrap());
            ways.iter().map(SocketAddr::to_string).collect::<Vec<_>>()
        };
        assert_eq!(ways("0.0.0.0:80"), ["127.0.0.1:80"]);
        assert_eq!(ways("[::]:80"), ["[::1]:80", "127.0.0.1:80"]);
        assert_eq!(ways("10.0.0.1:80"), ["10.0.0.1:80"]);
    }

    #[test]
    fn who_is_connected_is_not_read_after_who_listens() {
        let dir = tempfile::tempdir().unwrap();
        let table = dir.path().join("tcp").display().to_string();
        let line = |port: &str, state: &str| {
            format!("  0: 0100007F:{port} 00000000:0000 {state} 0:0 00:0 0 0 0 77 1 0\n")
        };
        let text = ["sl\n".to_owned(), line("0050", "0A"), line("0051", "0A"), line("0052", "01")];
        // What comes after the first that does not listen is left to the kernel.
        fs::write(&table, text.concat() + &line("0053", "0A")).unwrap();
        let ports: Vec<_> = listeners(&table).iter().map(|(addr, _)| addr.port()).collect();
        assert_eq!(ports, [80, 81]);
    }
}
