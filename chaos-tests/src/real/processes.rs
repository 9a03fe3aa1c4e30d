//! Processes as `/proc` shows them: which belong to a node, what they use, and their end.
//!
//! A node's processes are those that have its data directory on their command line or as their
//! working directory, and the children of such processes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

/// A process of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// Its command line, words separated by spaces.
    pub command: String,
    /// Whether it is a task's supervisor.
    pub supervisor: bool,
}

/// What a process used since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory now, in bytes.
    pub rss: u64,
    /// User and system time, in clock ticks of 10 ms.
    pub ticks: u64,
    /// Bytes sent to the disk.
    pub written: u64,
}

/// Whether the process lives; one that only waits to be reaped does not.
pub fn is_alive(pid: i32) -> bool {
    stat(pid).is_some_and(|(state, _parent)| state != 'Z' && state != 'X')
}

/// State and parent.
fn stat(pid: i32) -> Option<(char, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// The living processes that belong to the node with data directory `dir`, its daemon included.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn of_node(dir: &Path) -> Result<Vec<Process>> {
    let needle = dir.as_os_str().as_bytes();
    let mut all = BTreeMap::new();
    let mut own = Vec::new();
    for entry in fs::read_dir("/proc").context("read /proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        // Ended meanwhile: not our business.
        let Some((state, parent)) = stat(pid) else { continue };
        if state == 'Z' || state == 'X' {
            continue;
        }
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let inside =
            fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
        let words: Vec<_> = line.split(|byte| *byte == 0).collect();
        let command = String::from_utf8_lossy(&words.join(&b' ')).trim_end().to_owned();
        if inside || words.iter().any(|word| within(word, needle)) {
            own.push(pid);
        }
        let supervisor = command.starts_with("swarm task-supervisor ");
        all.insert(pid, Process { pid, parent, command, supervisor });
    }
    let mut found = BTreeMap::new();
    while let Some(pid) = own.pop() {
        let Some(process) = all.get(&pid) else { continue };
        if found.insert(pid, process.clone()).is_none() && process.supervisor {
            own.extend(all.values().filter(|child| child.parent == pid).map(|child| child.pid));
        }
    }
    Ok(found.into_values().collect())
}

/// Whether `word` is the directory or something in it.
fn within(word: &[u8], dir: &[u8]) -> bool {
    word.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// A variable of a process's environment.
pub fn variable(pid: i32, name: &str) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment.split(|byte| *byte == 0).find_map(|pair| {
        let value = String::from_utf8_lossy(pair).strip_prefix(name)?.strip_prefix('=')?.to_owned();
        Some(value)
    })
}

/// Sends a signal; a process that is gone is fine.
///
/// # Errors
/// When the system refuses.
pub fn signal(pid: i32, signal: Signal) -> Result<()> {
    let target = Pid::from_raw(pid).filter(|_| pid > 1).context("not a process id")?;
    match kill_process(target, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("signal process {pid}")),
    }
}

/// Kills everything of the node: daemon, supervisors, programs. As if its machine had lost power.
///
/// # Errors
/// When `/proc` cannot be read or the system refuses.
pub fn kill_all(dir: &Path) -> Result<()> {
    // What is forked between a look and the kill is found by the next look.
    loop {
        let found = of_node(dir)?;
        if found.is_empty() {
            return Ok(());
        }
        for process in found {
            signal(process.pid, Signal::KILL)?;
        }
    }
}

/// What a process uses.
///
/// # Errors
/// When it is gone.
pub fn usage(pid: i32) -> Result<Usage> {
    let read = |file: &str| {
        fs::read_to_string(format!("/proc/{pid}/{file}")).with_context(|| format!("process {pid}"))
    };
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
            .with_context(|| format!("no {name} of process {pid}"))
    };
    let stat = read("stat")?;
    let fields: Vec<_> = stat.rsplit_once(") ").context("stat")?.1.split(' ').collect();
    let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok());
    Ok(Usage {
        rss: field(&read("status")?, "VmRSS:")? * 1024,
        // utime and stime, the 14th and 15th field of proc(5).
        ticks: ticks(11).zip(ticks(12)).map(|(user, system)| user + system).context("stat")?,
        written: field(&read("io")?, "write_bytes:")?,
    })
}
