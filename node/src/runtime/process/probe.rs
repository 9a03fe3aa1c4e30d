//! Asks a process task how it is. Its address is the host's own, since it has no network of its own.
//!
//! A command is run by a small process of its own ([`prober`]), for which this one only waits: so a
//! daemon that is killed meanwhile leaves nothing behind.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use swarm_model::id::TaskId;
use swarm_model::probe::Check;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::{Inner, prober};
use crate::runtime::Answer;
use crate::runtime::probe;

/// How long the prober may take beside what it asks for: to start, and to kill what hangs.
const MARGIN: Duration = Duration::from_secs(4);
/// An answer is far smaller.
const ANSWER_MAX: u64 = 4096;

/// Asks once.
pub(super) async fn probe(
    inner: Arc<Inner>,
    task: TaskId,
    check: Arc<Check>,
    within: Duration,
) -> Answer {
    let address = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match &*check {
        Check::Tcp { port } => probe::tcp(address(*port), within).await,
        Check::Http { path, port } => probe::http(address(*port), path, within).await,
        Check::Command(words) => {
            let asked = ask(&inner, task, words, within);
            match tokio::time::timeout(within + MARGIN, asked).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => Answer::Unknown(format!("cannot run the probe: {error}")),
                Err(_late) => Answer::Unknown("the probe was killed but does not end".to_owned()),
            }
        }
    }
}

/// Has a prober run `words`. Dropped, its end of the pipe closes, and the prober ends what it started.
async fn ask(
    inner: &Inner,
    task: TaskId,
    words: &[String],
    within: Duration,
) -> io::Result<Answer> {
    let mut child = Command::new(&inner.config.supervisor)
        .arg0("swarm")
        .arg(prober::ARGUMENT)
        .arg(inner.run_dir(task).path())
        .arg(within.as_millis().to_string())
        .args(words)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let ended = || io::Error::new(io::ErrorKind::UnexpectedEof, "it ended without a word");
    let stdout = child.stdout.take().ok_or_else(ended)?;
    let mut line = Vec::new();
    stdout.take(ANSWER_MAX).read_to_end(&mut line).await?;
    // Not `wait` alone, which closes the prober's standard input first: it has answered by now.
    child.wait().await?;
    if line.is_empty() {
        return Err(ended());
    }
    Ok(serde_json::from_slice(&line)?)
}
