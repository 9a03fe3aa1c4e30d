//! One connection, one request, one answer.

use std::io;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use swarm_model::id::RequestId;
use swarm_net::task::TaskGroup;
use tokio::net::UnixStream;

use super::Endpoint;
use crate::exit::{Exit, Failure};

/// The most bytes of one answer.
const ANSWER_MAX: usize = 256 << 20;

/// A request that can be sent more than once.
#[derive(Debug)]
pub(super) struct Request {
    method: Method,
    target: String,
    key: Option<RequestId>,
    body: Option<Bytes>,
    upgrade: Option<&'static str>,
}

impl Request {
    /// A request; `key` makes its repetitions harmless.
    pub(super) fn new(
        method: Method,
        target: String,
        key: Option<RequestId>,
        body: Option<Vec<u8>>,
    ) -> Self {
        Self { method, target, key, body: body.map(Bytes::from), upgrade: None }
    }

    /// The same, asking for another protocol on the connection.
    pub(super) fn upgrade(self, protocol: &'static str) -> Self {
        Self { upgrade: Some(protocol), ..self }
    }

    fn to_http(&self) -> Result<http::Request<Full<Bytes>>, http::Error> {
        let mut request = http::Request::builder()
            .method(self.method.clone())
            .uri(&self.target)
            .header(header::HOST, "swarm");
        if let Some(key) = self.key {
            request = request.header("idempotency-key", key.to_string());
        }
        if let Some(protocol) = self.upgrade {
            request = request.header(header::CONNECTION, "upgrade");
            request = request.header(header::UPGRADE, protocol);
        }
        if self.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request.body(Full::new(self.body.clone().unwrap_or_default()))
    }
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum SendError {
    /// Nobody could be asked: nothing was done.
    Connect(io::Error),
    /// The connection broke: the request may have been done.
    Lost(String),
    /// It broke, and nobody listens any more: nobody is left to ask again.
    Gone(String),
    /// The request or the answer is against the rules; asking again would not help.
    Broken(String),
}

/// Sends `request`; gives the answer's head.
pub(super) async fn open(
    endpoint: &Endpoint,
    request: &Request,
    tasks: &TaskGroup,
) -> Result<http::Response<Incoming>, SendError> {
    let stream = UnixStream::connect(endpoint.socket()).await.map_err(SendError::Connect)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| SendError::Lost(error.to_string()))?;
    tasks.spawn("api connection", async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "api connection ended");
        }
    });
    let request = request.to_http().map_err(|error| SendError::Broken(error.to_string()))?;
    sender.send_request(request).await.map_err(|error| SendError::Lost(error.to_string()))
}

/// Reads the rest of an answer.
pub(super) async fn collect(answer: http::Response<Incoming>) -> Result<Reply, SendError> {
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, ANSWER_MAX).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            SendError::Broken(format!("the answer has more than {ANSWER_MAX} bytes"))
        } else {
            SendError::Lost(error.to_string())
        }
    })?;
    Ok(Reply { status: head.status, headers: head.headers, body: body.to_bytes() })
}

/// Sends `request` and reads the whole answer.
pub(super) async fn exchange(
    endpoint: &Endpoint,
    request: &Request,
    tasks: &TaskGroup,
) -> Result<Reply, SendError> {
    collect(open(endpoint, request, tasks).await?).await
}

impl SendError {
    /// What a repetition met, after the connection was lost as `lost` says: without a listener there
    /// is no use in another one.
    pub(super) fn after(self, lost: &str) -> Self {
        match self {
            Self::Connect(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Self::Gone(lost.to_owned())
            }
            Self::Connect(_) | Self::Lost(_) | Self::Gone(_) | Self::Broken(_) => self,
        }
    }

    /// For the person who asked.
    pub(super) fn into_failure(self, endpoint: &Endpoint) -> Failure {
        let socket = endpoint.socket().display();
        let data_dir = endpoint.socket().parent().unwrap_or(endpoint.socket()).display();
        let unreachable = |message| Failure::new(Exit::Unreachable, message);
        match self {
            Self::Connect(error) => match error.kind() {
                io::ErrorKind::NotFound => unreachable(format!(
                    "no node runs here: there is no {socket}; make one with `swarm init` or \
                     `swarm join`, start a stopped one with `swarm daemon`, or name another \
                     node's directory with --data-dir"
                )),
                io::ErrorKind::ConnectionRefused => unreachable(format!(
                    "the node's daemon does not run: nobody listens on {socket}; start it with \
                     `swarm daemon --data-dir {data_dir}`"
                )),
                io::ErrorKind::PermissionDenied => Failure::failed(format!(
                    "no permission to use {socket}: run this as the user of the daemon or a \
                     member of the socket's group"
                )),
                _ => unreachable(format!("cannot connect to {socket}: {error}")),
            },
            Self::Lost(reason) => unreachable(format!(
                "the connection to the node at {socket} was lost ({reason}); if this was a \
                 change, look whether it was made before asking again"
            )),
            Self::Gone(reason) => unreachable(format!(
                "the node's daemon ended before it answered ({reason}; nobody listens on {socket} any \
                 more); if this was a change, it may have been made: look at the end of its log \
                 (daemon.log or the journal), start it with `swarm daemon --data-dir {data_dir}`, and \
                 look before asking again"
            )),
            Self::Broken(reason) => Failure::failed(format!("cannot talk to {socket}: {reason}")),
        }
    }
}
