//! A conversation with a task: the connection after its upgrade.

use http::{Method, StatusCode, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use swarm_node::api::PROTOCOL;
use swarm_node::chunk::{ChunkReader, ChunkWriter};
use tokio::io::{ReadHalf, WriteHalf};

use super::{Client, DEADLINE, Query, connection, refusal, target, too_slow};
use crate::exit::Failure;

type Io = TokioIo<Upgraded>;

/// Both directions of a conversation.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) reader: ChunkReader<ReadHalf<Io>>,
    pub(crate) writer: ChunkWriter<WriteHalf<Io>>,
}

impl Client {
    /// Begins a conversation. Dropping it ends what was begun.
    ///
    /// # Errors
    /// What the API refused, with its exit code; unreachable when no node answers.
    pub(crate) async fn converse<B: Serialize + Sync>(
        &self,
        path: &str,
        query: Query<'_>,
        body: &B,
    ) -> Result<Session, Failure> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Failure::failed(format!("cannot write the request: {error}")))?;
        let request = connection::Request::new(Method::POST, target(path, query), None, Some(body))
            .upgrade(PROTOCOL);
        let open = connection::open(&self.endpoint, &request, &self.tasks);
        let answer = tokio::time::timeout(DEADLINE, open)
            .await
            .map_err(|_elapsed| too_slow(&self.endpoint))?
            .map_err(|error| error.into_failure(&self.endpoint))?;
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            let reply = connection::collect(answer)
                .await
                .map_err(|error| error.into_failure(&self.endpoint))?;
            return Err(refusal::failure(reply.status, &reply.body));
        }
        if answer.headers().get(header::UPGRADE).is_none_or(|name| name != PROTOCOL) {
            return Err(Failure::failed("the node's answer is not understood: another protocol"));
        }
        let upgraded = hyper::upgrade::on(answer)
            .await
            .map_err(|error| Failure::failed(format!("the connection was lost: {error}")))?;
        let (reading, writing) = tokio::io::split(TokioIo::new(upgraded));
        Ok(Session { reader: ChunkReader::new(reading, &[]), writer: ChunkWriter::new(writing) })
    }
}
