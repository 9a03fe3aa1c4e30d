//! What other members ask of this node: decoded, checked against who asks, handed to openraft.
//!
//! A message speaks only for its sender: the node in a vote must be the one at the other end.

mod snapshot;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use openraft::raft::{AppendEntriesResponse, VoteRequest};
use serde::de::DeserializeOwned;
use swarm_net::frame;
use swarm_net::rpc::{Method, Refusal, RefusalCode};
use swarm_net::transport::{MessageReceiver, MessageSender, MessageStream, Peer};
use swarm_state::mistake::{Mistake, planted};

use crate::contact::Contact;
use crate::gate::Gate;
use crate::machine::StateMachine;
use crate::types::{AppendRequest, Types};
use crate::wire::{
    Append, AppendAnswer, Ballot, TransferAnswer, TransferAsk, VoteAnswer, VoteAsk, log_at,
};
use crate::work::Work;

pub(crate) type Raft = openraft::Raft<Types, StateMachine>;

/// Answers the members of the consensus group.
#[derive(Clone)]
pub(crate) struct Service {
    raft: Raft,
    contact: Contact,
    gate: Gate,
    work: Work,
}

impl Service {
    pub(crate) fn new(raft: Raft, contact: Contact, gate: Gate, work: Work) -> Self {
        Self { raft, contact, gate, work }
    }

    /// Answers one unary call.
    pub(crate) async fn call(
        self,
        from: Peer,
        method: Method,
        body: Bytes,
    ) -> Result<Bytes, Refusal> {
        let passes = match method {
            Method::RaftHeartbeat => self.gate.lets_records_in(),
            _ => self.gate.is_open(),
        };
        if !passes {
            let message = "this node's replica takes no part in the group at present";
            return Err(Refusal::new(RefusalCode::Unavailable, message));
        }
        match method {
            Method::RaftHeartbeat => self.heartbeat(from, &body).await,
            Method::RaftVote => self.vote(from, &body).await,
            Method::RaftPreVote => self.pre_vote(from, &body).await,
            Method::RaftTransferLeader => self.transfer(from, &body).await,
            other => {
                let message = format!("{other:?} is no call of the consensus group");
                Err(Refusal::new(RefusalCode::UnknownMethod, message))
            }
        }
    }

    /// Serves one stream to its end.
    pub(crate) async fn stream(
        self,
        from: Peer,
        method: Method,
        hello: Bytes,
        stream: MessageStream,
    ) {
        if !self.gate.lets_records_in() {
            return;
        }
        match method {
            Method::RaftAppend => self.appends(from, stream).await,
            Method::RaftSnapshot => {
                snapshot::receive(&self.raft, self.work, from, &hello, stream).await;
            }
            other => tracing::warn!(peer = %from.node_id, ?other, "no stream of consensus"),
        }
    }

    async fn heartbeat(&self, from: Peer, body: &[u8]) -> Result<Bytes, Refusal> {
        let append: Append = decode(body)?;
        speaks_for_itself(from, append.vote)?;
        let request = AppendRequest::try_from(append).map_err(malformed)?;
        if !request.entries.is_empty() {
            return Err(malformed("a heartbeat carries no records".to_owned()));
        }
        let prev = log_at(request.prev_log_id.as_ref());
        let response = self.raft.append_entries(request).await.map_err(stopped)?;
        let answer = match (response, prev) {
            (AppendEntriesResponse::HigherVote(vote), _) => {
                AppendAnswer::HigherVote((&vote).into())
            }
            (AppendEntriesResponse::Conflict, Some(at)) => AppendAnswer::Conflict(at),
            // There is nothing before the first record that could differ.
            (AppendEntriesResponse::Conflict, None) | (AppendEntriesResponse::Success, _) => {
                AppendAnswer::Matched(prev)
            }
            (AppendEntriesResponse::PartialSuccess(at), _) => {
                AppendAnswer::Matched(log_at(at.as_ref()))
            }
        };
        self.note_leader(&answer);
        Ok(frame::encode(&answer))
    }

    async fn vote(&self, from: Peer, body: &[u8]) -> Result<Bytes, Refusal> {
        let ask: VoteAsk = decode(body)?;
        speaks_for_itself(from, ask.vote)?;
        let response = self.raft.vote(VoteRequest::from(ask)).await.map_err(stopped)?;
        if response.vote_granted {
            // Time for the candidate to win before this node tries.
            self.contact.touch();
        }
        Ok(frame::encode(&VoteAnswer::from(&response)))
    }

    async fn pre_vote(&self, from: Peer, body: &[u8]) -> Result<Bytes, Refusal> {
        let ask: VoteAsk = decode(body)?;
        speaks_for_itself(from, ask.vote)?;
        let response = self.raft.pre_vote(VoteRequest::from(ask)).await.map_err(stopped)?;
        Ok(frame::encode(&VoteAnswer::from(&response)))
    }

    async fn transfer(&self, from: Peer, body: &[u8]) -> Result<Bytes, Refusal> {
        let ask: TransferAsk = decode(body)?;
        speaks_for_itself(from, ask.from)?;
        let response = self.raft.handle_transfer_leader(ask.into()).await.map_err(stopped)?;
        Ok(frame::encode(&TransferAnswer::from(&response)))
    }

    /// Records and answers flow at the same time; openraft answers in order.
    async fn appends(&self, from: Peer, stream: MessageStream) {
        let (mut sender, receiver) = stream.split();
        let gate = self.gate.clone();
        let requests = stream::unfold(receiver, move |receiver| {
            let gate = gate.clone();
            async move { next_append(from, receiver).await.filter(|_| gate.lets_records_in()) }
        });
        let mut results = std::pin::pin!(self.raft.stream_append(requests));
        while let Some(result) = results.next().await {
            match result {
                Ok(result) => {
                    let answer = AppendAnswer::from(&result);
                    self.note_leader(&answer);
                    if !send(&mut sender, &answer).await {
                        return;
                    }
                }
                Err(fatal) => {
                    tracing::debug!(peer = %from.node_id, error = %fatal, "appends ended");
                    return;
                }
            }
        }
    }

    fn note_leader(&self, answer: &AppendAnswer) {
        match answer {
            AppendAnswer::Matched(_) | AppendAnswer::Conflict(_) => self.contact.touch(),
            AppendAnswer::HigherVote(_) => {}
        }
    }
}

async fn next_append(
    from: Peer,
    mut receiver: MessageReceiver,
) -> Option<(AppendRequest, MessageReceiver)> {
    let message = match receiver.recv().await {
        Ok(message) => message?,
        Err(error) => {
            tracing::debug!(peer = %from.node_id, %error, "appends broke off");
            return None;
        }
    };
    let request = decode::<Append>(&message)
        .and_then(|append| speaks_for_itself(from, append.vote).map(|()| append))
        .and_then(|append| AppendRequest::try_from(append).map_err(malformed));
    match request {
        Ok(request) => Some((request, receiver)),
        Err(refusal) => {
            tracing::warn!(peer = %from.node_id, error = %refusal, "append refused");
            None
        }
    }
}

async fn send(sender: &mut MessageSender, answer: &AppendAnswer) -> bool {
    sender.send(frame::encode(answer)).await.is_ok()
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    frame::decode(body).map_err(|error| malformed(error.to_string()))
}

fn malformed(reason: String) -> Refusal {
    Refusal::new(RefusalCode::Malformed, reason)
}

fn stopped(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(RefusalCode::Unavailable, format!("consensus has stopped here: {error}"))
}

/// Refuses a message in which one node speaks as another.
fn speaks_for_itself(from: Peer, vote: Ballot) -> Result<(), Refusal> {
    if vote.node == from.node_id || planted(Mistake::TrustBody) {
        return Ok(());
    }
    let message = format!("node {} may not speak as node {}", from.node_id, vote.node);
    Err(Refusal::new(RefusalCode::NotAllowed, message))
}
