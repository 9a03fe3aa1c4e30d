//! The decoders of this crate, for the fuzz driver; see [`swarm_model::fuzz`].

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use openraft::entry::RaftEntry;
use openraft::raft::{TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse};
use serde::Serialize;
use serde::de::DeserializeOwned;
use swarm_model::fuzz::Target;
use swarm_net::frame;
use swarm_net::fuzz::message;

use crate::payload;
use crate::types::{
    AppendRequest, AppendResult, Encoded, Entry, Id, LogId, Membership, Payload, SnapshotMeta,
    StoredMembership, Types, Vote, log_id,
};
use crate::wire::{
    Append, AppendAnswer, Ballot, LogAt, Members, SnapshotAnswer, SnapshotHead, SnapshotHello,
    TransferAnswer, TransferAsk, VoteAnswer, VoteAsk,
};

/// The decoders of this crate.
pub const TARGETS: &[Target] = &[
    Target::new("raft.vote", into::<VoteAsk, VoteRequest<Types>>, || {
        vec![bytes(&VoteAsk { vote: vote(), last: Some(at()), transfer: true })]
    }),
    Target::new("raft.vote-answer", into::<VoteAnswer, VoteResponse<Types>>, || {
        vec![bytes(&VoteAnswer { vote: vote(), granted: true, last: None })]
    }),
    Target::new("raft.transfer", into::<TransferAsk, TransferLeaderRequest<Types>>, || {
        vec![bytes(&TransferAsk { from: vote(), to: Id::from(6).0, last: Some(at()) })]
    }),
    Target::new("raft.transfer-answer", into::<TransferAnswer, TransferLeaderResponse<Types>>, {
        || {
            let changed = TransferAnswer::VoteChanged { expected: vote(), actual: vote() };
            let behind = TransferAnswer::NotFlushed { expected: Some(at()), actual: None };
            vec![bytes(&TransferAnswer::Taken), bytes(&changed), bytes(&behind)]
        }
    }),
    Target::new("raft.append", append, || vec![bytes(&Append::from(&batch()))]),
    Target::new("raft.append-answer", into::<AppendAnswer, AppendResult>, || {
        let answers = [
            AppendAnswer::Matched(Some(at())),
            AppendAnswer::Conflict(at()),
            AppendAnswer::HigherVote(vote()),
        ];
        answers.iter().map(bytes).collect()
    }),
    Target::new("raft.snapshot-hello", hello, || {
        let head = SnapshotHead::from(&meta());
        vec![bytes(&SnapshotHello { vote: vote(), head, length: 300, crc: 7 })]
    }),
    Target::new("raft.snapshot-answer", message::<SnapshotAnswer>, || {
        let failed = SnapshotAnswer::Failed("disk full".to_owned());
        vec![bytes(&SnapshotAnswer::Installed(vote())), bytes(&failed)]
    }),
    Target::new("raft.snapshot-head", head, || vec![bytes(&SnapshotHead::from(&meta()))]),
    Target::new("raft.payload", record, || {
        let all = [
            Payload::Blank,
            Payload::Normal(Encoded::new(b"command")),
            Payload::Membership(membership()),
        ];
        all.iter().map(|payload| payload::encode(payload).to_vec()).collect()
    }),
    Target::new("raft.members", members, || vec![bytes(&Members::from(&membership()))]),
    Target::new("raft.stored-vote", into::<Ballot, Vote>, || vec![bytes(&vote())]),
];

fn bytes<T: Serialize>(value: &T) -> Vec<u8> {
    frame::encode(value).to_vec()
}

fn vote() -> Ballot {
    Ballot { term: 7, node: Id::from(5).0, committed: true }
}

fn at() -> LogAt {
    LogAt { term: 6, index: 300 }
}

fn membership() -> Membership {
    let set = |ids: &[u64]| ids.iter().copied().map(Id::from).collect::<BTreeSet<_>>();
    let nodes: BTreeMap<_, _> = set(&[1, 2, 3]).into_iter().map(|id| (id, ())).collect();
    Membership::new(vec![set(&[1, 2]), set(&[2, 3])], nodes).expect("the voters are members")
}

fn meta() -> SnapshotMeta {
    let last_membership = StoredMembership::new(Some(log_id(1, 3)), membership());
    SnapshotMeta { last_log_id: Some(log_id(2, 5)), last_membership }
}

fn batch() -> AppendRequest {
    AppendRequest {
        vote: vote().into(),
        prev_log_id: Some(log_id(2, 7)),
        entries: vec![
            Entry::new(log_id(3, 8), Payload::Blank),
            Entry::new(log_id(3, 9), Payload::Normal(Encoded::new(&[42, 43]))),
            Entry::new(log_id(3, 10), Payload::Membership(membership())),
        ],
        leader_commit: Some(log_id(2, 6)),
    }
}

/// A message that becomes openraft's.
fn into<T: Serialize + DeserializeOwned + Into<U>, U>(bytes: &[u8]) -> bool {
    let Ok(value) = frame::decode::<T>(bytes) else { return false };
    let _theirs: U = value.into();
    message::<T>(bytes)
}

fn append(bytes: &[u8]) -> bool {
    let Ok(append) = frame::decode::<Append>(bytes) else { return false };
    let Ok(request) = AppendRequest::try_from(append) else { return false };
    let again = AppendRequest::try_from(Append::from(&request)).expect("was just made");
    assert_eq!(again.entries, request.entries, "a batch is not stable");
    let next = request.prev_log_id.map_or(0, |prev: LogId| prev.index.saturating_add(1));
    assert!(request.entries.iter().zip(next..).all(|(entry, index)| entry.log_id.index == index));
    true
}

fn hello(bytes: &[u8]) -> bool {
    let Ok(hello) = frame::decode::<SnapshotHello>(bytes) else { return false };
    let _vote = Vote::from(hello.vote);
    SnapshotMeta::try_from(hello.head).is_ok() && message::<SnapshotHello>(bytes)
}

fn head(bytes: &[u8]) -> bool {
    let Ok(head) = frame::decode::<SnapshotHead>(bytes) else { return false };
    let Ok(meta) = SnapshotMeta::try_from(head) else { return false };
    assert_eq!(SnapshotMeta::try_from(SnapshotHead::from(&meta)), Ok(meta));
    true
}

fn record(bytes: &[u8]) -> bool {
    let Ok(payload) = payload::decode(Bytes::copy_from_slice(bytes)) else { return false };
    assert_eq!(payload::decode(payload::encode(&payload)), Ok(payload));
    true
}

fn members(bytes: &[u8]) -> bool {
    let Ok(members) = frame::decode::<Members>(bytes) else { return false };
    let Ok(membership) = Membership::try_from(members) else { return false };
    assert_eq!(Membership::try_from(Members::from(&membership)), Ok(membership));
    true
}
