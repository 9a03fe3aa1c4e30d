//! `swarm backup create`: the cluster's state and keys in one file.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde_json::json;
use swarm_node::api::types::BackupAnswer;
use swarm_node::backup::{self, Manifest, envelope};

use super::Passphrase;
use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::output::format::Format;
use crate::output::{inspect, line};

/// How long a large state may take.
const DEADLINE: Duration = Duration::from_secs(300);
/// How backups are named.
const EXTENSION: &str = "swarmbak";

/// Save the cluster's state and keys to a file
///
/// Run it on a manager. The file holds the whole replicated state and the keys of the cluster's
/// authority: who reads it owns the cluster, so it is encrypted with a passphrase (Argon2id,
/// ChaCha20-Poly1305) unless you ask for --plain. It is readable by its owner only, and read back
/// whole before it gets its name: there is a good one or none.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm backup create --passphrase-file ./secret cluster.swarmbak\n  \
    swarm backup create --passphrase-file ./secret /mnt/usb/    # names it itself\n  \
    swarm backup create --plain --stale                         # not encrypted, without quorum")]
pub(crate) struct Create {
    /// The file, or a directory in which it is named after cluster and revision [default: .]
    #[arg(value_name = "FILE|DIR")]
    to: Option<PathBuf>,
    #[command(flatten)]
    passphrase: Passphrase,
    /// Do not encrypt it
    #[arg(long, conflicts_with = "passphrase_file")]
    plain: bool,
    /// Of this node's own copy when there is no quorum; newer changes may be missing
    #[arg(long)]
    stale: bool,
    /// json (one line) or a template like '{{.Revision}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

impl Create {
    /// Makes it.
    ///
    /// # Errors
    /// Why not; there is no file then.
    pub(crate) async fn run(self, client: &Client) -> Result<(), Failure> {
        let passphrase = self.passphrase.read()?;
        if passphrase.is_none() && !self.plain {
            return Err(Failure::usage(
                "a backup holds the cluster's keys: encrypt it with --passphrase-file FILE, or say \
                 --plain",
            ));
        }
        let query: &[(&str, &str)] = if self.stale { &[("stale", "true")] } else { &[] };
        let empty = json!({});
        let answer: BackupAnswer =
            client.post_within("/v1/backup", query, &empty, DEADLINE).await?;
        let archive = answer.archive.as_slice().to_vec();
        let read = backup::read(&archive).map_err(|error| failed(&error))?;
        let path = self.path(&read.manifest)?;
        let file =
            envelope::seal(archive, passphrase.as_deref()).map_err(|error| failed(&error))?;
        let verify = |at: &Path| verify(at, passphrase.as_deref(), &read.manifest);
        write(&path, &file, verify)?;
        self.show(&path, file.len(), &read.manifest)
    }

    fn path(&self, manifest: &Manifest) -> Result<PathBuf, Failure> {
        let to = self.to.clone().unwrap_or_else(|| PathBuf::from("."));
        let path = if to.is_dir() { to.join(name(manifest)) } else { to };
        if path.exists() {
            return Err(taken(&path));
        }
        Ok(path)
    }

    fn show(&self, path: &Path, bytes: usize, manifest: &Manifest) -> Result<(), Failure> {
        let mut object = json!(manifest);
        if let Some(object) = object.as_object_mut() {
            object.insert("File".to_owned(), json!(path.display().to_string()));
            object.insert("Bytes".to_owned(), json!(bytes));
            object.insert("Encrypted".to_owned(), json!(!self.plain));
        }
        match &self.format {
            Some(format) if *format != Format::Table => inspect::one(&object, format),
            Some(_) | None => line(&format!(
                "{}: {bytes} bytes, revision {}, epoch {}, {} nodes, {} services{}{}",
                path.display(),
                manifest.revision,
                manifest.epoch,
                manifest.nodes,
                manifest.services,
                if self.plain { ", NOT ENCRYPTED" } else { ", encrypted" },
                if manifest.stale { ", STALE: made without quorum" } else { "" },
            )),
        }
    }
}

fn failed(error: &backup::BackupError) -> Failure {
    Failure::failed(error.to_string())
}

fn name(manifest: &Manifest) -> String {
    format!("swarm-{}-{}.{EXTENSION}", manifest.cluster_id.short(), manifest.revision)
}

fn taken(path: &Path) -> Failure {
    Failure::new(Exit::Conflict, format!("{} exists: choose another name", path.display()))
}

/// Writes beside the file, syncs, has that verified, and gives it its name, which nobody has yet.
fn write(
    path: &Path,
    bytes: &[u8],
    verify: impl FnOnce(&Path) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let beside = beside(path);
    let failed = |at: &Path, error: &io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => taken(at),
        _ => Failure::failed(format!("cannot write {}: {error}", at.display())),
    };
    let mut options = fs::OpenOptions::new();
    // Never one that is there: others may read it, or it leads elsewhere.
    let opened = options.write(true).create_new(true).mode(0o600).open(&beside);
    let mut file = opened.map_err(|error| failed(&beside, &error))?;
    let placed = (|| {
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        written.map_err(|error| failed(&beside, &error))?;
        verify(&beside)?;
        rename_new(&beside, path).and_then(|()| sync(path)).map_err(|error| failed(path, &error))
    })();
    if placed.is_err() {
        // What is not there need not go.
        let _gone = fs::remove_file(&beside);
    }
    placed
}

/// Where the file is written before it has its name: nobody else's.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsStr::new(".").to_owned();
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.part", std::process::id()));
    path.with_file_name(name)
}

/// Renames `from`, unless there is a `to`.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system knows how.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        renamed => Ok(renamed?),
    }
}

/// Makes the name in its directory durable. A file without a durable name goes again.
fn sync(path: &Path) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let synced = fs::File::open(dir.unwrap_or(Path::new("."))).and_then(|dir| dir.sync_all());
    if synced.is_err() {
        let _gone = fs::remove_file(path);
    }
    synced
}

/// A backup that cannot be read is none.
fn verify(path: &Path, passphrase: Option<&str>, made: &Manifest) -> Result<(), Failure> {
    let wrong = |why: String| Failure::failed(format!("{} is of no use: {why}", path.display()));
    let file = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let opened = envelope::open(&file, passphrase).and_then(|archive| backup::read(&archive));
    let read = opened.map_err(|error| wrong(error.to_string()))?;
    if read.manifest != *made {
        return Err(wrong("it reads back otherwise than it was written".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("a directory");
        let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        let mut names: Vec<_> = entries.map(|entry| name(entry.expect("readable"))).collect();
        names.sort();
        names
    }

    #[test]
    fn backup_is_its_owners_alone_and_leaves_the_files_of_others_as_they_are() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("x.swarmbak");
        let foreign = dir.path().join("x.part");
        fs::write(&foreign, "mine").expect("written");
        write(&path, b"keys", |_| Ok(())).expect("free");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read(&foreign).expect("there"), b"mine");
        assert_eq!(names(dir.path()), ["x.part", "x.swarmbak"]);
        // Whatever is in the way of the file beside it is not written to either.
        let other = dir.path().join("y.swarmbak");
        fs::write(beside(&other), "mine").expect("written");
        assert_eq!(write(&other, b"keys", |_| Ok(())).expect_err("taken").exit, Exit::Conflict);
        assert_eq!(fs::read(beside(&other)).expect("there"), b"mine");
    }

    #[test]
    fn name_that_is_taken_meanwhile_and_a_file_that_does_not_verify_leave_nothing() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("x.swarmbak");
        let wrong = |_: &Path| Err(Failure::failed("of no use"));
        write(&path, b"keys", wrong).expect_err("it does not read back");
        assert_eq!(names(dir.path()), [""; 0]);
        let late = |_: &Path| {
            fs::write(&path, "theirs").expect("written");
            Ok(())
        };
        assert_eq!(write(&path, b"keys", late).expect_err("taken").exit, Exit::Conflict);
        assert_eq!(names(dir.path()), ["x.swarmbak"]);
        assert_eq!(fs::read(&path).expect("there"), b"theirs");
    }
}
