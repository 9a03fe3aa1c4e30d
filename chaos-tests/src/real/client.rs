//! A small HTTP client of one node's Unix socket: one connection, kept alive.
//!
//! It repeats nothing: who asks decides what a lost answer means.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use swarm_net::task::TaskGroup;
use swarm_node::api::types::ErrorBody;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long an answer may take unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why there is no answer.
#[derive(Debug)]
pub enum ClientError {
    /// Nobody listens: nothing was done.
    Connect(io::Error),
    /// The connection broke or nothing came in time: it may have been done or not.
    Unknown(String),
    /// An answer, but a refusal.
    Refused(StatusCode, ErrorBody),
    /// An answer that does not read as what was asked for.
    Malformed(String),
}

impl std::fmt::Display for ClientError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::Unknown(why) => write!(f, "no answer: {why}"),
            Self::Refused(status, body) => write!(f, "{status} {}: {}", body.code, body.message),
            Self::Malformed(why) => write!(f, "the answer makes no sense: {why}"),
        }
    }
}

impl std::error::Error for ClientError {}

impl ClientError {
    /// The API's code of a refusal, or nothing.
    pub fn code(&self) -> &str {
        match self {
            Self::Refused(_, body) => &body.code,
            Self::Connect(_) | Self::Unknown(_) | Self::Malformed(_) => "",
        }
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Reply {
    /// Reads the body of a success, or the error of a refusal.
    ///
    /// # Errors
    /// The refusal, or that the body is something else.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        if self.status.is_success() {
            return serde_json::from_slice(&self.body)
                .map_err(|error| ClientError::Malformed(error.to_string()));
        }
        match serde_json::from_slice::<ErrorBody>(&self.body) {
            Ok(body) => Err(ClientError::Refused(self.status, body)),
            Err(error) => Err(ClientError::Malformed(format!("{}: {error}", self.status))),
        }
    }

    /// Whether the node could not ask the cluster and answered from what it knows.
    pub fn is_stale(&self) -> bool {
        self.headers.get("swarm-stale").is_some_and(|value| value == "true")
    }
}

/// A client of one node.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    patience: Duration,
    key: Option<String>,
    tasks: TaskGroup,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// A client of the node with this socket; connects when needed.
    pub fn new(socket: &Path, tasks: TaskGroup) -> Self {
        Self { socket: socket.to_owned(), patience: PATIENCE, key: None, tasks, connection: None }
    }

    /// With another deadline for each answer.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sends this `Idempotency-Key` with every request.
    #[must_use]
    pub fn with_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// Sends a request and waits for the whole answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(
        &mut self,
        method: Method,
        target: &str,
        body: Vec<u8>,
    ) -> Result<Reply, ClientError> {
        let sent = timeout(self.patience, self.exchange(method, target, body)).await;
        let reply = sent.unwrap_or_else(|_elapsed| {
            Err(ClientError::Unknown(format!("nothing came within {:?}", self.patience)))
        });
        if reply.is_err() {
            self.connection = None;
        }
        reply
    }

    async fn exchange(
        &mut self,
        method: Method,
        target: &str,
        body: Vec<u8>,
    ) -> Result<Reply, ClientError> {
        let unknown = |error: hyper::Error| ClientError::Unknown(error.to_string());
        let alive = self.connection.take().filter(|connection| !connection.is_closed());
        let mut connection = match alive {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        connection.ready().await.map_err(unknown)?;
        let request = http::Request::builder().method(method).uri(target).header("host", "swarm");
        let request = if body.is_empty() {
            request
        } else {
            request.header("content-type", "application/json")
        };
        let request = match &self.key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        };
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| ClientError::Malformed(error.to_string()))?;
        let (head, body) = connection.send_request(request).await.map_err(unknown)?.into_parts();
        let body = body.collect().await.map_err(unknown)?.to_bytes();
        self.connection = Some(connection);
        Ok(Reply { status: head.status, headers: head.headers, body })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(ClientError::Connect)?;
        let (sender, driver) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| ClientError::Unknown(error.to_string()))?;
        self.tasks.spawn("test client", async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "connection ended");
            }
        });
        Ok(sender)
    }

    /// Reads an object.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub async fn get<T: DeserializeOwned>(&mut self, target: &str) -> Result<T, ClientError> {
        self.send(Method::GET, target, Vec::new()).await?.json()
    }

    /// Sends an object.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub async fn post<T: DeserializeOwned>(
        &mut self,
        target: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body =
            serde_json::to_vec(body).map_err(|error| ClientError::Malformed(error.to_string()))?;
        self.send(Method::POST, target, body).await?.json()
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub async fn delete(&mut self, target: &str) -> Result<(), ClientError> {
        let reply = self.send(Method::DELETE, target, Vec::new()).await?;
        if reply.status.is_success() { Ok(()) } else { reply.json::<()>() }
    }
}
