//! For tests of whole command lines: a node's socket that answers as the test says, and remembers what
//! it was asked.
//!
//! One request a connection, as the client asks.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use swarm_net::task::TaskGroup;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

use crate::args::Cli;
use crate::client::Endpoint;
use crate::exit::Failure;

/// A node that is not there but for its socket.
pub(super) struct FakeNode {
    host: String,
    asked: Arc<Mutex<Vec<String>>>,
    tasks: TaskGroup,
    _dir: tempfile::TempDir,
}

impl FakeNode {
    /// `answer` gets a method and what it is for, like `GET /v1/info`.
    pub(super) fn new(answer: impl Fn(&str) -> Value + Send + 'static) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let endpoint = Endpoint::of_data_dir(dir.path());
        let listener = UnixListener::bind(endpoint.socket()).expect("a fresh directory");
        let (asked, tasks) = (Arc::<Mutex<Vec<String>>>::default(), TaskGroup::new());
        let log = asked.clone();
        tasks.spawn("fake node", async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = read(&mut stream).await;
                let body = answer(&request).to_string();
                log.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                let whole = head + &body;
                stream.write_all(whole.as_bytes()).await.expect("the client reads");
            }
        });
        Self { host: endpoint.to_string(), asked, tasks, _dir: dir }
    }

    /// Runs `swarm` and `line` against it.
    pub(super) async fn run(&self, line: &str) -> Result<(), Failure> {
        let words = ["swarm", "--host", &self.host].into_iter().chain(line.split(' '));
        let cli = <Cli as clap::Parser>::try_parse_from(words).expect(line);
        super::dispatch(&cli.global, cli.command).await
    }

    /// The changes that it was asked for since the last time that somebody wanted to know.
    pub(super) fn changes(&self) -> Vec<String> {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner));
        asked.into_iter().filter(|request| !request.starts_with("GET ")).collect()
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

/// Reads a request; gives its method and target.
async fn read(stream: &mut UnixStream) -> String {
    let (mut bytes, mut part) = (Vec::new(), [0; 1024]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_lowercase();
            let length = length.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |length| length.parse().expect("a number"));
            if body.len() >= length {
                return head.split(" HTTP/").next().unwrap_or_default().to_owned();
            }
        }
        let count = stream.read(&mut part).await.expect("the client writes");
        assert!(count > 0, "the client is gone");
        bytes.extend_from_slice(&part[..count]);
    }
}

/// The service `web`, which wants no tasks, with the update number 7 that is as it is said.
pub(super) fn service(kind: &str, phase: &str, reason: &str) -> Value {
    let template = json!({"Runtime": {"Process": {"Command": ["x"]}}});
    let at = "2026-01-01T00:00:00Z";
    json!({
        "ID": "0".repeat(25), "Meta": {"Version": 9, "CreatedAt": at, "UpdatedAt": at},
        "Spec": {"Name": "web", "Mode": {"Replicated": {"Replicas": 0}}, "TaskTemplate": template},
        "PreviousSpec": null, "TemplateVersion": 1, "Template": template, "Removing": false,
        "Update": {
            "ID": 7, "Kind": kind, "Phase": phase, "From": 1, "To": 7, "StartedAt": at,
            "EndedAt": null, "Reason": reason
        },
        "ServiceStatus": {"RunningTasks": 3, "DesiredTasks": 3, "UpdatedTasks": 1}
    })
}

/// What a change answers, made at `revision`.
pub(super) fn written(revision: u64) -> Value {
    json!({"ID": "0".repeat(25), "Version": 7, "Revision": revision, "Warnings": []})
}
