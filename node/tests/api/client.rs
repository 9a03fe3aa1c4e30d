//! A client that speaks HTTP by the book, one connection a request.

use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use swarm_net::task::TaskGroup;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::DEADLINE;

pub(crate) struct Client {
    socket: PathBuf,
    tasks: TaskGroup,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) fn code(&self) -> &str {
        self.body["Code"].as_str().unwrap_or_default()
    }

    pub(crate) fn message(&self) -> &str {
        self.body["Message"].as_str().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// One field of each item of a list.
    pub(crate) fn column(&self, pointer: &str) -> Vec<String> {
        let items = self.body.as_array().unwrap_or_else(|| panic!("no list: {self:?}"));
        let text = |item: &Value| match item.pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => panic!("no {pointer} in {item}"),
        };
        items.iter().map(text).collect()
    }
}

impl Client {
    pub(crate) fn new(socket: PathBuf, tasks: TaskGroup) -> Self {
        Self { socket, tasks }
    }

    pub(crate) async fn connect(&self) -> http1::SendRequest<Full<Bytes>> {
        let stream = UnixStream::connect(&self.socket).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        self.tasks.spawn("test client", async move {
            // The daemon's end of the connection is what is tested.
            let _broken = connection.await;
        });
        sender
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        target: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(target).header("host", "swarm");
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let body = body.map(ToString::to_string).unwrap_or_default();
        let request = request.body(Full::from(body)).unwrap();
        let mut sender = self.connect().await;
        let answer = timeout(DEADLINE, sender.send_request(request)).await.unwrap().unwrap();
        collect(answer).await
    }

    pub(crate) async fn get(&self, target: &str) -> Reply {
        self.send(Method::GET, target, None, None).await
    }

    pub(crate) async fn post(&self, target: &str, body: &Value) -> Reply {
        self.send(Method::POST, target, None, Some(body)).await
    }

    pub(crate) async fn delete(&self, target: &str) -> Reply {
        self.send(Method::DELETE, target, None, None).await
    }

    /// Asks for a conversation that is refused.
    pub(crate) async fn upgrade(&self, target: &str, body: &Value) -> Reply {
        let request = Request::post(target).header("host", "swarm").header("connection", "upgrade");
        let request = request.header("upgrade", swarm_node::api::PROTOCOL);
        let request = request.body(Full::from(body.to_string())).unwrap();
        let mut sender = self.connect().await;
        let answer = timeout(DEADLINE, sender.send_request(request)).await.unwrap().unwrap();
        collect(answer).await
    }

    /// Opens a stream of lines.
    pub(crate) async fn stream(&self, target: &str) -> Lines {
        let request = Request::get(target).header("host", "swarm").body(Full::default()).unwrap();
        let mut sender = self.connect().await;
        let answer = timeout(DEADLINE, sender.send_request(request)).await.unwrap().unwrap();
        assert_eq!(answer.status(), 200, "{target}");
        assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
        Lines { body: answer.into_body(), buffer: BytesMut::new(), _sender: sender }
    }
}

pub(crate) async fn collect(answer: Response<Incoming>) -> Reply {
    let (head, body) = answer.into_parts();
    let body = timeout(DEADLINE, body.collect()).await.unwrap().unwrap().to_bytes();
    let text = String::from_utf8_lossy(&body);
    let body = serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {text}"));
    Reply { status: head.status.as_u16(), headers: head.headers, body }
}

/// A live answer.
pub(crate) struct Lines {
    body: Incoming,
    buffer: BytesMut,
    _sender: http1::SendRequest<Full<Bytes>>,
}

impl Lines {
    /// The next line; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end + 1);
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = timeout(DEADLINE, self.body.frame()).await.expect("no line in time");
            self.buffer.extend_from_slice(&frame?.unwrap().into_data().unwrap());
        }
    }

    /// One field of each of the next `count` lines.
    pub(crate) async fn column(&mut self, count: usize, key: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for _ in 0..count {
            let line = self.next().await.expect("a line more");
            texts.push(line[key].as_str().unwrap_or_else(|| panic!("no {key}: {line}")).to_owned());
        }
        texts
    }

    /// Everything until the end.
    pub(crate) async fn all(mut self) -> Vec<Value> {
        let mut lines = Vec::new();
        while let Some(line) = self.next().await {
            lines.push(line);
        }
        lines
    }
}
