//! The run directory of one task and the records in it.
//!
//! `launch` is what the daemon asks for, `start` and `exit` are what the supervisor says; `lock` is
//! held by the supervisor as long as it lives. Nothing is fsynced: after a power cut nothing of the
//! task runs any more, and a record that is missing or damaged then reads as "lost".

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use swarm_model::id::TaskId;
use swarm_model::runtime::Namespace;
use swarm_model::units::Timestamp;

use super::processes::ProcessRef;
use crate::logs::LogLimits;
use crate::runtime::Exit;
use crate::runtime::cgroup::Group;

/// Format of all records here.
const FORMAT: u32 = 1;
/// Room kept for the exit record, so that a full disk does not lose it.
const EXIT_ROOM: u64 = 4096;

/// What the supervisor is to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LaunchRecord {
    pub(super) task: TaskId,
    pub(super) program: PathBuf,
    /// With the program's name as the user wrote it.
    pub(super) arguments: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) account: Option<Account>,
    pub(super) workdir: PathBuf,
    /// Whether that is the task's own directory, which other users cannot reach by its path.
    pub(super) own_workdir: bool,
    pub(super) hostname: Option<String>,
    /// What it does not share; records of older daemons have none.
    #[serde(default)]
    pub(super) namespaces: BTreeSet<Namespace>,
    pub(super) group: Group,
    /// Groups for the supervisor itself.
    pub(super) refuge: Vec<PathBuf>,
    pub(super) log_dir: PathBuf,
    pub(super) log: LogLimits,
}

/// Whom to run as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) groups: Vec<u32>,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StartRecord {
    pub(super) supervisor: ProcessRef,
    pub(super) program: ProcessRef,
    pub(super) boot_id: String,
    pub(super) at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    format: u32,
    record: T,
}

/// A task's run directory.
#[derive(Debug, Clone)]
pub(super) struct RunDir(PathBuf);

impl RunDir {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The working directory of a task that asks for none.
    pub(super) fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    pub(super) fn launch(&self) -> io::Result<LaunchRecord> {
        read(&self.0.join("launch"))
    }

    pub(super) fn write_launch(&self, record: &LaunchRecord) -> io::Result<()> {
        write(&self.0, "launch", record)
    }

    pub(super) fn start(&self) -> io::Result<StartRecord> {
        read(&self.0.join("start"))
    }

    pub(super) fn write_start(&self, record: &StartRecord) -> io::Result<()> {
        write(&self.0, "start", record)
    }

    pub(super) fn exit(&self) -> io::Result<Exit> {
        read(&self.0.join("exit"))
    }

    /// Takes the room for the exit record now.
    pub(super) fn reserve_exit(&self) -> io::Result<File> {
        let file = create(&self.0.join("exit.new"))?;
        // Not every file system can; then a full disk may cost the record.
        fallocate(&file, FallocateFlags::empty(), 0, EXIT_ROOM).ok();
        Ok(file)
    }

    pub(super) fn write_exit(&self, mut reserved: File, exit: &Exit) -> io::Result<()> {
        let bytes = serde_json::to_vec(&Versioned { format: FORMAT, record: exit })?;
        reserved.write_all(&bytes)?;
        reserved.set_len(bytes.len() as u64)?;
        fs::rename(self.0.join("exit.new"), self.0.join("exit"))
    }

    /// Whether the program was ever started, or is just being started.
    pub(super) fn was_started(&self) -> bool {
        ["start", "exit"].iter().any(|name| self.0.join(name).exists())
    }

    /// The lock, if nobody holds it. A supervisor inherits it, so it ends with the supervisor.
    pub(super) fn lock(&self) -> io::Result<Option<File>> {
        self.try_lock(FlockOperation::NonBlockingLockExclusive)
    }

    /// Whether a supervisor lives (or is about to).
    pub(super) fn is_locked(&self) -> io::Result<bool> {
        // Shared: looking does not disturb others that look.
        Ok(self.try_lock(FlockOperation::NonBlockingLockShared)?.is_none())
    }

    fn try_lock(&self, operation: FlockOperation) -> io::Result<Option<File>> {
        let file = create(&self.0.join("lock"))?;
        match flock(&file, operation) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
}

fn write<T: Serialize>(dir: &Path, name: &str, record: &T) -> io::Result<()> {
    let new = dir.join(format!("{name}.new"));
    let bytes = serde_json::to_vec(&Versioned { format: FORMAT, record })?;
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    file.write_all(&bytes)?;
    fs::rename(new, dir.join(name))
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    parse(&fs::read(path)?).map_err(named)
}

/// Reads a record's bytes.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    let Versioned { format, record } = serde_json::from_slice(bytes)?;
    if format == FORMAT {
        Ok(record)
    } else {
        let what = format!("record format {format} is not known");
        Err(io::Error::new(io::ErrorKind::InvalidData, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_on_disk_never_changes() {
        let home = tempfile::tempdir().unwrap();
        let dir = RunDir::new(home.path().to_owned());
        let process = ProcessRef { pid: 7, start_ticks: 8 };
        let at = Timestamp::from_millis(1_769_860_800_123);
        let start = StartRecord { supervisor: process, program: process, boot_id: "b".into(), at };
        dir.write_start(&start).unwrap();
        let exit = Exit { code: None, signal: Some(9), oom_killed: true, at };
        dir.write_exit(dir.reserve_exit().unwrap(), &exit).unwrap();
        let text = |name: &str| fs::read_to_string(home.path().join(name)).unwrap();
        assert_eq!(
            text("start"),
            r#"{"format":1,"record":{"supervisor":{"pid":7,"start_ticks":8},"program":{"pid":7,"start_ticks":8},"boot_id":"b","at":"2026-01-31T12:00:00.123Z"}}"#
        );
        assert_eq!(
            text("exit"),
            r#"{"format":1,"record":{"code":null,"signal":9,"oom_killed":true,"at":"2026-01-31T12:00:00.123Z"}}"#
        );
        assert_eq!((dir.start().unwrap(), dir.exit().unwrap()), (start, exit));
    }

    #[test]
    fn damaged_and_foreign_records_are_errors() {
        let home = tempfile::tempdir().unwrap();
        let dir = RunDir::new(home.path().to_owned());
        for text in ["", "{}", "\0\0\0", r#"{"format":2,"record":{}}"#] {
            fs::write(home.path().join("exit"), text).unwrap();
            assert!(dir.exit().is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_lock_is_free_held_and_free_again() {
        let home = tempfile::tempdir().unwrap();
        let dir = RunDir::new(home.path().to_owned());
        assert!(!dir.is_locked().unwrap());
        let held = dir.lock().unwrap();
        assert!(held.is_some() && dir.is_locked().unwrap() && dir.lock().unwrap().is_none());
        drop(held);
        assert!(!dir.is_locked().unwrap());
    }
}
