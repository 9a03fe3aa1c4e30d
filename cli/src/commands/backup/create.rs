//! `swarm backup create`: the cluster's state and keys in one file.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
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
/// Run it on a manager. The file holds the whole replicated state and the keys of the cluster's authority:
/// who reads it owns the cluster, so it is encrypted with a passphrase (Argon2id, ChaCha20-Poly1305) unless
/// you ask for --plain. It is written whole or not at all, readable by its owner only, and is read back
/// before the command says that it is there.
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
        write(&path, &file)?;
        verify(&path, passphrase.as_deref(), &read.manifest)?;
        self.show(&path, file.len(), &read.manifest)
    }

    fn path(&self, manifest: &Manifest) -> Result<PathBuf, Failure> {
        let to = self.to.clone().unwrap_or_else(|| PathBuf::from("."));
        let path = if to.is_dir() { to.join(name(manifest)) } else { to };
        if path.exists() {
            let message = format!("{} exists: choose another name", path.display());
            return Err(Failure::new(Exit::Conflict, message));
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

/// Writes beside the file, syncs, moves it into place.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error| Failure::failed(format!("cannot write {}: {error}", path.display()));
    let beside = path.with_extension("part");
    let written = (|| {
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        fs::File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
    })();
    if written.is_err() {
        // What is not there need not go.
        let _gone = fs::remove_file(&beside);
    }
    written.map_err(failed)
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
