//! openraft's way to the other members, over the mesh: heartbeats, votes and hand-overs as calls of
//! their own, records as one pipelined stream, snapshots as chunks.
//!
//! It does not retry: openraft does, after the back-off given here.

mod pipeline;
mod snapshot;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, Stream, StreamExt};
use openraft::errors::{ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, stream_append_sequential};
use openraft::raft::{
    AppendEntriesResponse, SnapshotResponse, StreamAppendError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use serde::Serialize;
use serde::de::DeserializeOwned;
use swarm_model::id::NodeId;
use swarm_net::frame;
use swarm_net::rpc::Method;
use swarm_net::transport::{CallError, Transport};

use crate::types::{AppendRequest, AppendResult, Id, RpcError, Snapshot, Types, Vote};
use crate::wire::{Append, AppendAnswer, TransferAnswer, TransferAsk, VoteAnswer, VoteAsk};

/// How long opening a stream may take: a dead peer must not hold replication up for long.
const OPEN_DEADLINE: Duration = Duration::from_secs(1);
/// The waits before a peer that did not answer is tried again: short, so that a returning peer is
/// caught up at once.
const BACKOFF: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(200)];

/// Makes clients for members.
#[derive(Debug, Clone)]
pub(crate) struct Peers {
    transport: Arc<dyn Transport>,
}

impl Peers {
    pub(crate) fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport }
    }

    fn client(&self, to: Id, heartbeats: bool) -> Client {
        Client { transport: self.transport.clone(), to: to.0, heartbeats }
    }
}

impl RaftNetworkFactory<Types> for Peers {
    type Network = Client;

    async fn new_client(&mut self, target: Id, _node: &()) -> Client {
        self.client(target, false)
    }

    async fn new_heartbeat_client(&mut self, target: Id, _node: &()) -> Client {
        self.client(target, true)
    }
}

/// The way to one member.
#[derive(Debug)]
pub(crate) struct Client {
    transport: Arc<dyn Transport>,
    to: NodeId,
    /// Heartbeats are calls of their own: they never wait behind records, syncs or snapshots.
    heartbeats: bool,
}

impl Client {
    async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        method: Method,
        question: &Q,
        deadline: Duration,
    ) -> Result<A, RpcError> {
        let body = frame::encode(question);
        let answer = self.transport.call(self.to, method, body, deadline).await;
        let answer = answer.map_err(|error| unreachable(&error))?;
        frame::decode(&answer).map_err(|error| unreachable(&error.into()))
    }
}

/// Any failure to get an answer makes openraft wait for the back-off and try again.
fn unreachable(error: &CallError) -> RpcError {
    Unreachable::new(error).into()
}

impl RaftNetworkV2<Types> for Client {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        request: AppendRequest,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RpcError> {
        let append = Append::from(&request);
        let answer: AppendAnswer =
            self.ask(Method::RaftHeartbeat, &append, option.hard_ttl()).await?;
        Ok(match AppendResult::from(answer) {
            Ok(_matched) => AppendEntriesResponse::Success,
            Err(StreamAppendError::Conflict(_at)) => AppendEntriesResponse::Conflict,
            Err(StreamAppendError::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote),
        })
    }

    fn stream_append<'s, S>(
        &'s mut self,
        mut requests: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<AppendResult, RpcError>>, RpcError>>
    where
        S: Stream<Item = AppendRequest> + OptionalSend + Unpin + 'static,
    {
        if self.heartbeats {
            return stream_append_sequential(self, requests, option);
        }
        Box::pin(async move {
            // The back-off passes inside the request stream, so it is asked before anyone dials.
            let Some(first) = requests.next().await else {
                return Ok(futures::stream::empty().boxed());
            };
            let stream =
                self.transport.open(self.to, Method::RaftAppend, Bytes::new(), OPEN_DEADLINE);
            let stream = stream.await.map_err(|error| unreachable(&error))?;
            Ok(pipeline::run(stream, first, requests))
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RpcError> {
        let ask = VoteAsk::from(&request);
        let answer: VoteAnswer = self.ask(Method::RaftVote, &ask, option.hard_ttl()).await?;
        Ok(answer.into())
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RpcError> {
        let ask = VoteAsk::from(&request);
        let answer: VoteAnswer = self.ask(Method::RaftPreVote, &ask, option.hard_ttl()).await?;
        Ok(answer.into())
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            closed = cancel => Err(closed.into()),
            sent = snapshot::send(&*self.transport, self.to, vote, snapshot) => {
                sent.map_err(|error| Unreachable::new(&error).into())
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RpcError> {
        let ask = TransferAsk::from(&request);
        let answer: TransferAnswer =
            self.ask(Method::RaftTransferLeader, &ask, option.hard_ttl()).await?;
        Ok(answer.into())
    }

    fn backoff(&self) -> Option<Backoff> {
        let [first, rest] = BACKOFF;
        Some(Backoff::new(std::iter::once(first).chain(std::iter::repeat(rest))))
    }
}
