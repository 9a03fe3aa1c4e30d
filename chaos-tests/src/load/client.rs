//! One client: reads and writes registers by turns, one operation at a time.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Method;
use swarm_model::config::Config;
use swarm_net::task::TaskGroup;
use swarm_node::api::types::Written;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::journal::Journal;
use super::keys::Keys;
use crate::history::{Kind, Record};
use crate::real::{Client, ClientError, spec};
use crate::register::number;

/// Longer than a node takes to say that it has no quorum.
const PATIENCE: Duration = Duration::from_secs(12);
/// Every so many operations is a write.
const WRITES_EVERY: u64 = 2;
/// A client whose node was not there tries it again after so many operations.
const COMES_HOME_EVERY: u64 = 16;

/// A client with its way to all nodes.
pub(super) struct Worker {
    pub(super) number: usize,
    pub(super) home: usize,
    pub(super) sockets: Vec<PathBuf>,
    pub(super) tasks: TaskGroup,
    pub(super) pause: Duration,
    pub(super) keys: Arc<Keys>,
    pub(super) journal: Arc<Journal>,
    pub(super) acknowledged: Arc<AtomicU64>,
}

/// How an operation ended.
#[derive(Debug)]
struct End {
    kind: Kind,
    value: Option<u64>,
    revision: Option<u64>,
}

impl End {
    fn of(kind: Kind) -> Self {
        Self { kind, value: None, revision: None }
    }
}

impl Worker {
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut at = self.home;
        let mut client = self.connect(at);
        for turn in self.number as u64.. {
            if stop.is_cancelled() {
                return;
            }
            let nobody = self.one(turn, at, &mut client).await;
            if nobody {
                at = (at + 1) % self.sockets.len();
                client = self.connect(at);
            } else if at != self.home && turn.is_multiple_of(COMES_HOME_EVERY) {
                at = self.home;
                client = self.connect(at);
            }
            tokio::select! {
                () = sleep(self.pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// One operation; whether nobody was there.
    async fn one(&self, turn: u64, at: usize, client: &mut Client) -> bool {
        let is_write = turn.is_multiple_of(WRITES_EVERY);
        let process = u32::try_from(self.number).unwrap_or(u32::MAX);
        let key = self.keys.next();
        let mut record = if is_write {
            Record::write(0, process, &key, Some(self.keys.value()))
        } else {
            Record::read(0, process, &key)
        };
        record.node = u32::try_from(at).ok();
        self.journal.note(record.clone());
        let end = match record.value {
            Some(value) => write(client, &key, value).await,
            None => read(client, &key).await,
        };
        let nobody = end.is_err();
        let end = end.unwrap_or_else(|_nobody| End::of(Kind::Fail));
        if is_write && end.kind == Kind::Ok {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        let value = if is_write { record.value } else { end.value };
        self.journal.note(Record { value, revision: end.revision, ..record.ended(0, end.kind) });
        nobody
    }

    fn connect(&self, at: usize) -> Client {
        Client::new(&self.sockets[at], self.tasks.clone()).with_patience(PATIENCE)
    }
}

/// Writes a register, and makes it when it is not there yet.
async fn write(client: &mut Client, key: &str, value: u64) -> Result<End, std::io::Error> {
    let data = value.to_string();
    let Ok(spec) = spec::config(key, data.as_bytes()) else { return Ok(End::of(Kind::Fail)) };
    // Whoever creates it meanwhile does so once.
    for target in [format!("/v1/configs/{key}/update"), "/v1/configs/create".to_owned()]
        .iter()
        .cycle()
        .take(4)
    {
        match client.post::<Written>(target, &spec).await {
            Ok(written) => {
                let mut end = End::of(Kind::Ok);
                end.revision = Some(written.revision.0);
                return Ok(end);
            }
            Err(error) if matches!(error.code(), "not_found" | "name_taken") => {}
            Err(error) => return refused(error),
        }
    }
    Ok(End::of(Kind::Fail))
}

async fn read(client: &mut Client, key: &str) -> Result<End, std::io::Error> {
    let target = format!("/v1/configs/{key}?stale=false");
    let reply = match client.send(Method::GET, &target, Vec::new()).await {
        Ok(reply) => reply,
        Err(ClientError::Connect(error)) => return Err(error),
        Err(_nothing_read) => return Ok(End::of(Kind::Fail)),
    };
    if reply.is_stale() {
        return Ok(End::of(Kind::Fail));
    }
    let at =
        reply.headers.get("swarm-revision").and_then(|value| value.to_str().ok()?.parse().ok());
    Ok(match reply.json::<Config>() {
        Ok(config) => match number(&config) {
            Ok(value) => End { kind: Kind::Ok, value: Some(value), revision: at },
            // No writer wrote that: let no check miss it.
            Err(_not_a_number) => End { kind: Kind::Ok, value: Some(u64::MAX), revision: at },
        },
        Err(error) if error.code() == "not_found" => {
            End { kind: Kind::Ok, value: None, revision: at }
        }
        Err(_refused) => End::of(Kind::Fail),
    })
}

/// What a write that was not acknowledged means.
fn refused(error: ClientError) -> Result<End, std::io::Error> {
    match error {
        ClientError::Connect(error) => Err(error),
        ClientError::Refused(_, body) if body.message.contains("nothing was changed") => {
            Ok(End::of(Kind::Fail))
        }
        other => {
            tracing::debug!(error = %other, "unknown");
            Ok(End::of(Kind::Unknown))
        }
    }
}
