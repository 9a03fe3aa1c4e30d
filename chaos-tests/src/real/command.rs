//! Runs `swarm` commands as a person would type them.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::binary;

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a command ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Output {
    /// What it printed, if it went well.
    ///
    /// # Errors
    /// Its complaint.
    pub fn ok(self) -> Result<String> {
        if self.code != 0 {
            bail!("exit code {}: {}{}", self.code, self.stderr.trim_end(), self.stdout.trim_end());
        }
        Ok(self.stdout)
    }
}

/// A `swarm` command.
#[derive(Debug)]
pub struct Swarm {
    arguments: Vec<OsString>,
}

impl Swarm {
    /// A command that needs no node.
    pub fn new(arguments: &[&str]) -> Self {
        Self { arguments: arguments.iter().map(Into::into).collect() }
    }

    /// A command to the node with this data directory.
    pub fn at(data_dir: &Path, arguments: &[&str]) -> Self {
        let mut all: Vec<OsString> = vec!["--data-dir".into(), data_dir.into()];
        all.extend(arguments.iter().map(OsString::from));
        Self { arguments: all }
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// When it cannot be started or takes too long.
    pub async fn run(&self) -> Result<Output> {
        self.run_with(&[]).await
    }

    /// The same, with something to read.
    ///
    /// # Errors
    /// When it cannot be started or takes too long.
    pub async fn run_with(&self, input: &[u8]) -> Result<Output> {
        let what = || format!("swarm {:?}", self.arguments);
        let mut child = self.start()?;
        let mut stdin = child.stdin.take().with_context(what)?;
        // One that does not read needs no input.
        let feed = async move { drop(stdin.write_all(input).await) };
        let both = async { tokio::join!(child.wait_with_output(), feed).0 };
        let output = timeout(PATIENCE, both)
            .await
            .with_context(|| format!("{}: no end within {PATIENCE:?}", what()))?
            .with_context(what)?;
        Ok(Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

impl Swarm {
    /// Starts it, with pipes; it is killed with the value.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self) -> Result<Child> {
        let mut command = Command::new(binary::swarm()?);
        command.args(&self.arguments).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        settings(command.as_std_mut());
        command.spawn().with_context(|| format!("swarm {:?}", self.arguments))
    }
}

/// What every `swarm` process of a test gets: no colours, no systemd, nothing of the caller's node.
pub(super) fn settings(command: &mut std::process::Command) {
    command.env("NO_COLOR", "1").env("SWARM_SYSTEMD", "0");
    command.env_remove("SWARM_DATA_DIR").env_remove("SWARM_HOST");
}
