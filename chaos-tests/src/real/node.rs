//! One real node: its directory, its address, its daemon process and what can be done to it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;
use swarm_net::task::TaskGroup;
use swarm_node::api::types::Info;

use super::client::Client;
use super::{binary, command, processes, wait_until};

/// How long a daemon may take to serve.
const SERVES_WITHIN: Duration = Duration::from_secs(20);
/// How long a daemon that was told to stop may take.
const STOPS_WITHIN: Duration = Duration::from_secs(20);

/// A node whose daemon is a child of this process.
#[derive(Debug)]
pub struct NodeProcess {
    /// Its data directory.
    pub dir: PathBuf,
    /// Where it listens.
    pub addr: SocketAddr,
    daemon: Option<Child>,
    tasks: TaskGroup,
    wrapper: Vec<String>,
    environment: Vec<(String, String)>,
}

impl NodeProcess {
    pub(super) fn new(dir: PathBuf, addr: SocketAddr, tasks: TaskGroup) -> Self {
        let (wrapper, environment) = (Vec::new(), Vec::new());
        Self { dir, addr, daemon: None, tasks, wrapper, environment }
    }

    /// Starts `swarm ARGUMENTS --data-dir DIR` as this node's daemon; it logs to `DIR.log`.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub fn spawn(&mut self, arguments: &[&str]) -> Result<()> {
        if self.daemon.is_some() {
            bail!("the daemon of {} was started already", self.dir.display());
        }
        let log = File::options().create(true).append(true).open(self.log_file())?;
        let binary = binary::swarm()?;
        let mut daemon = match self.wrapper.split_first() {
            None => Command::new(binary),
            Some((program, rest)) => {
                let mut wrapped = Command::new(program);
                wrapped.args(rest).arg(binary);
                wrapped
            }
        };
        daemon.envs(self.environment.iter().cloned());
        daemon.arg("--data-dir").arg(&self.dir).args(arguments);
        daemon.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command::settings(&mut daemon);
        self.daemon = Some(daemon.spawn().context("start the daemon")?);
        Ok(())
    }

    /// From the next start on, the daemon is run by this program, which must become the daemon
    /// itself (`strace -D` does); none runs it plainly again.
    pub fn wrap(&mut self, words: Vec<String>) {
        self.wrapper = words;
    }

    /// From the next start on, the daemon has these variables.
    pub fn set_environment(&mut self, variables: Vec<(String, String)>) {
        self.environment = variables;
    }

    /// Starts the daemon of the prepared directory again; does not wait.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub fn restart(&mut self) -> Result<()> {
        self.spawn(&["daemon"])
    }

    /// Waits until the socket answers.
    ///
    /// # Errors
    /// When the daemon ends, or nothing answers in time; shows the end of its log.
    pub async fn serving(&mut self) -> Result<()> {
        let mut client = self.client();
        let socket = format!("{} serves", self.dir.display());
        let daemon = &mut self.daemon;
        let served = wait_until(&socket, SERVES_WITHIN, async || {
            if let Some(Ok(Some(status))) = daemon.as_mut().map(Child::try_wait) {
                return Some(Err(status));
            }
            client.get::<serde_json::Value>("/v1/ping").await.ok().map(Ok)
        });
        match served.await {
            Ok(Ok(_pong)) => Ok(()),
            Ok(Err(status)) => bail!("the daemon ended ({status}): {}", self.log_end()),
            Err(error) => Err(error.context(self.log_end())),
        }
    }

    /// Where the daemon logs to.
    pub fn log_file(&self) -> PathBuf {
        self.dir.with_extension("log")
    }

    /// The last lines of the log.
    pub fn log_end(&self) -> String {
        let log = fs::read_to_string(self.log_file()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    /// Where its API is.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("swarm.sock")
    }

    /// A new client of its API.
    pub fn client(&self) -> Client {
        Client::new(&self.socket(), self.tasks.clone())
    }

    /// What the node says of itself.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn info(&self) -> Result<Info> {
        Ok(self.client().with_patience(Duration::from_secs(3)).get("/v1/info").await?)
    }

    /// The daemon's process id while this process holds it.
    pub fn pid(&self) -> Option<i32> {
        self.daemon.as_ref().and_then(|child| i32::try_from(child.id()).ok())
    }

    /// Whether the daemon was started and has not ended.
    pub fn is_running(&mut self) -> bool {
        self.daemon.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Kills the daemon; its tasks go on.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.daemon.take() {
            child.kill().context("kill the daemon")?;
            child.wait().context("reap the daemon")?;
        }
        Ok(())
    }

    /// Kills the daemon, its tasks and their supervisors: the machine is gone.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn lose_machine(&mut self) -> Result<()> {
        self.kill()?;
        processes::kill_all(&self.dir)
    }

    /// Tells the daemon to stop and waits for its end. Tasks go on.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn stop(&mut self) -> Result<std::process::ExitStatus> {
        let pid = self.pid().context("no daemon runs")?;
        processes::signal(pid, Signal::TERM)?;
        self.ended().await
    }

    /// Waits for the daemon's end.
    ///
    /// # Errors
    /// When it goes on.
    pub async fn ended(&mut self) -> Result<std::process::ExitStatus> {
        let mut child = self.daemon.take().context("no daemon runs")?;
        let ended = wait_until("the daemon ends", STOPS_WITHIN, async || child.try_wait().ok()?);
        let ended = ended.await;
        if ended.is_err() {
            self.daemon = Some(child);
        }
        ended
    }

    /// Freezes the daemon where it stands.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self) -> Result<()> {
        processes::signal(self.pid().context("no daemon runs")?, Signal::STOP)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&self) -> Result<()> {
        processes::signal(self.pid().context("no daemon runs")?, Signal::CONT)
    }

    /// The processes of its tasks and their supervisors.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn task_processes(&self) -> Result<Vec<processes::Process>> {
        let daemon = self.pid();
        let all = processes::of_node(&self.dir)?.into_iter();
        Ok(all.filter(|process| Some(process.pid) != daemon).collect())
    }

    /// Whether `path` lies in its directory.
    pub fn owns(&self, path: &Path) -> bool {
        path.starts_with(&self.dir)
    }
}

impl Drop for NodeProcess {
    fn drop(&mut self) {
        if let Err(error) = self.lose_machine() {
            tracing::error!(dir = %self.dir.display(), %error, "processes may be left");
        }
    }
}
