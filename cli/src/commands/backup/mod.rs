//! `swarm backup`: the whole cluster in a file, and a cluster from it.

mod create;
mod restore;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use crate::args::Global;
use crate::exit::Failure;

/// Save the cluster's state and keys to a file, and restore them
#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:\n  \
    swarm backup create --passphrase-file ./secret /mnt/usb/\n  \
    swarm backup restore --passphrase-file ./secret --data-dir /var/lib/swarm /mnt/usb/x.swarmbak")]
pub(crate) enum Backup {
    Create(create::Create),
    Restore(restore::Restore),
}

impl Backup {
    /// Whether a node runs in this process.
    pub(crate) fn is_daemon(&self) -> bool {
        match self {
            Self::Create(_) => false,
            Self::Restore(command) => command.is_daemon(),
        }
    }

    /// Does what the command line says.
    ///
    /// # Errors
    /// Why not; no file and no directory is left half-made.
    pub(crate) async fn run(self, global: &Global) -> Result<(), Failure> {
        match self {
            Self::Create(command) => command.run(&global.client()?).await,
            Self::Restore(command) => Box::pin(command.run(&global.data_dir()?)).await,
        }
    }
}

/// Where the passphrase is.
#[derive(Debug, Clone, Args)]
pub(crate) struct Passphrase {
    /// File whose first line is the passphrase
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl Passphrase {
    /// The passphrase, if one was given.
    ///
    /// # Errors
    /// When the file cannot be read or is empty.
    fn read(&self) -> Result<Option<String>, Failure> {
        let Some(path) = &self.passphrase_file else { return Ok(None) };
        first_line(path).map(Some)
    }
}

fn first_line(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::usage(format!("cannot read the passphrase in {}: {error}", path.display()))
    })?;
    match text.lines().next().unwrap_or_default() {
        "" => Err(Failure::usage(format!("{} holds no passphrase", path.display()))),
        line => Ok(line.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_passphrase_is_the_first_line() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("secret");
        std::fs::write(&path, "correct horse\r\nbattery\n").expect("written");
        assert_eq!(first_line(&path).expect("there"), "correct horse");
        std::fs::write(&path, "\n").expect("written");
        assert!(first_line(&path).is_err());
        assert!(first_line(&dir.path().join("absent")).is_err());
    }
}
