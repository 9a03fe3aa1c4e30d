//! `swarm backup restore`: a cluster from a backup, with this machine as its first node.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use swarm_model::node::Availability;
use swarm_node::backup::{self, BackupError, envelope};
use swarm_node::restore::{RestoreOptions, Restored};

use super::Passphrase;
use crate::client::Client;
use crate::commands::recover;
use crate::exit::{Exit, Failure};
use crate::hosting::{addresses, backend, interfaces, serving};
use crate::output::format::Format;
use crate::output::{inspect, line};
use crate::parse::address::{self, LocalAddress};

/// Found the cluster anew from a backup
///
/// Checks every byte of the file before it touches anything. This machine becomes a new node, the first
/// voter of the cluster's next epoch: same cluster, same authority, same join tokens, services and
/// workers. All managers of the backup are left out, and fenced when they come back. Managers that
/// are newer than the backup are unknown to it and are not told: make sure that they are off.
/// Workers of the backup follow by themselves and keep their tasks. The data directory must be
/// empty. What changed after the backup was made is lost.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    swarm backup restore --passphrase-file ./secret /mnt/usb/cluster.swarmbak\n  \
    swarm backup restore --data-dir /tmp/a --advertise-addr 127.0.0.1 plain.swarmbak")]
pub(crate) struct Restore {
    /// The backup
    #[arg(value_name = "FILE")]
    from: PathBuf,
    #[command(flatten)]
    passphrase: Passphrase,
    /// Where other nodes reach this one [default: the machine's address, if it has only one]
    #[arg(long, value_name = "IP|IFACE[:PORT]", value_parser = address::local)]
    advertise_addr: Option<LocalAddress>,
    /// The UDP address to listen on; it carries everything [default: 0.0.0.0:2377]
    #[arg(long, value_name = "IP|IFACE[:PORT]", value_parser = address::local)]
    listen_addr: Option<LocalAddress>,
    /// Whether this node takes tasks: active, pause or drain
    #[arg(long, value_name = "WORD", default_value = "active")]
    availability: Availability,
    /// Stay in the foreground, as the node itself
    #[arg(long)]
    foreground: bool,
    /// json (one line) or a template like '{{.Revision}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

impl Restore {
    /// Whether the node runs in this process.
    pub(crate) fn is_daemon(&self) -> bool {
        self.foreground
    }

    /// Checks, restores, starts the node.
    ///
    /// # Errors
    /// Why not; nothing is left of the attempt, unless only the daemon does not start.
    pub(crate) async fn run(self, data_dir: &Path) -> Result<(), Failure> {
        let file = std::fs::read(&self.from).map_err(|error| {
            let exit = match error.kind() {
                std::io::ErrorKind::NotFound => Exit::NotFound,
                _ => Exit::Failed,
            };
            Failure::new(exit, format!("cannot read {}: {error}", self.from.display()))
        })?;
        let passphrase = self.passphrase.read()?;
        let opened = envelope::open(&file, passphrase.as_deref());
        let read = opened.and_then(|archive| backup::read(&archive));
        let backup = read.map_err(|error| refused(&self.from, &error))?;
        let machine = interfaces::list().unwrap_or_default();
        let (listen, advertise) = (self.listen_addr.as_ref(), self.advertise_addr.as_ref());
        let decided = addresses::decide(listen, advertise, None, &machine)?;
        let options = RestoreOptions {
            data_dir: data_dir.to_owned(),
            listen: decided.listen,
            advertise: decided.advertise,
            availability: self.availability,
        };
        let restored = backend::restore(&options, &backup)?;
        if self.foreground {
            let announce = async |_: &Client| self.show(&restored);
            return serving::in_foreground_kept(data_dir, announce).await;
        }
        let started = recover::start(data_dir).await;
        let client = started.map_err(|failure| stays(&failure, data_dir))?;
        serving::until_ready(&client).await;
        self.show(&restored)
    }

    fn show(&self, restored: &Restored) -> Result<(), Failure> {
        let object = json!({
            "NodeID": restored.prepared.node_id,
            "ClusterID": restored.prepared.cluster_id,
            "Epoch": restored.epoch.number,
            "Revision": restored.revision,
            "StateSha256": restored.state_sha256,
            "LeftOut": restored.lost,
        });
        match &self.format {
            Some(format) if *format != Format::Table => inspect::one(&object, format),
            Some(_) | None => line(&format!(
                "Restored: this node ({}) is the first manager of epoch {}, at revision {}.\n\
                 State verified: sha256 {}.\n\
                 The {} managers of before are left out: each may `swarm leave --force`, then join.",
                restored.prepared.node_id,
                restored.epoch,
                restored.revision,
                restored.state_sha256,
                restored.lost.len(),
            )),
        }
    }
}

/// Workers may follow the restored node from its first word on: without it they would be stranded.
fn stays(failure: &Failure, data_dir: &Path) -> Failure {
    let dir = data_dir.display();
    let hint = format!("{failure}; the restored node stays: `swarm daemon --data-dir {dir}`");
    Failure::new(failure.exit, hint)
}

fn refused(path: &Path, error: &BackupError) -> Failure {
    let exit = match error {
        BackupError::Locked | BackupError::WrongPassphrase => Exit::Usage,
        BackupError::Foreign
        | BackupError::Truncated { .. }
        | BackupError::Altered { .. }
        | BackupError::Newer { .. }
        | BackupError::State(_)
        | BackupError::Crypto(_) => Exit::Failed,
    };
    Failure::new(exit, format!("{}: {error}; nothing was restored", path.display()))
}
