//! Appends: the payloads of a batch travel as one run of bytes, so that a batch costs one copy on the
//! way out and one allocation on the way in, however many records it has.

use bytes::{Bytes, BytesMut};
use openraft::entry::RaftEntry;
use openraft::raft::StreamAppendError;
use serde::{Deserialize, Serialize};

use super::{Ballot, LogAt, log_at};
use crate::payload;
use crate::types::{AppendRequest, AppendResult, Entry, LogId, Vote};

/// One record of a batch; its payload is the next `length` bytes of [`Append::payloads`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    term: u64,
    length: u32,
}

/// The leader's records after `prev`; none of them in a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Append {
    pub(crate) vote: Ballot,
    prev: Option<LogAt>,
    commit: Option<LogAt>,
    heads: Vec<Head>,
    payloads: Bytes,
}

impl From<&AppendRequest> for Append {
    fn from(request: &AppendRequest) -> Self {
        let mut heads = Vec::with_capacity(request.entries.len());
        let mut payloads = BytesMut::new();
        for entry in &request.entries {
            let bytes = payload::encode(&entry.payload);
            let length = u32::try_from(bytes.len()).expect("a record is at most a few MiB");
            heads.push(Head { term: entry.log_id.leader_id.term, length });
            payloads.extend_from_slice(&bytes);
        }
        Self {
            vote: (&request.vote).into(),
            prev: log_at(request.prev_log_id.as_ref()),
            commit: log_at(request.leader_commit.as_ref()),
            heads,
            payloads: payloads.freeze(),
        }
    }
}

impl TryFrom<Append> for AppendRequest {
    type Error = String;

    fn try_from(append: Append) -> Result<Self, String> {
        let mut rest = append.payloads;
        let mut entries = Vec::with_capacity(append.heads.len());
        let first = append.prev.map_or(Some(0), |prev| prev.index.checked_add(1));
        let count = u64::try_from(append.heads.len()).map_err(|error| error.to_string())?;
        let indexes = first.and_then(|first| Some(first..first.checked_add(count)?));
        let indexes = indexes.ok_or("the records lie behind the last index")?;
        for (index, head) in indexes.zip(append.heads) {
            let length = usize::try_from(head.length).map_err(|error| error.to_string())?;
            if length > rest.len() {
                return Err(format!("record {index} is cut short"));
            }
            let payload = payload::decode(rest.split_to(length))?;
            let at = LogId::from(LogAt { term: head.term, index });
            entries.push(Entry::new(at, payload));
        }
        if !rest.is_empty() {
            return Err(format!("{} bytes belong to no record", rest.len()));
        }
        Ok(Self {
            vote: append.vote.into(),
            prev_log_id: append.prev.map(LogId::from),
            entries,
            leader_commit: append.commit.map(LogId::from),
        })
    }
}

/// The answer to one [`Append`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum AppendAnswer {
    /// The logs agree up to here, and that is on disk.
    Matched(Option<LogAt>),
    /// The logs differ here.
    Conflict(LogAt),
    /// The callee knows a newer leader or candidate.
    HigherVote(Ballot),
}

impl From<&AppendResult> for AppendAnswer {
    fn from(result: &AppendResult) -> Self {
        match result {
            Ok(matched) => Self::Matched(log_at(matched.as_ref())),
            Err(StreamAppendError::Conflict(at)) => Self::Conflict(at.into()),
            Err(StreamAppendError::HigherVote(vote)) => Self::HigherVote(vote.into()),
        }
    }
}

impl From<AppendAnswer> for AppendResult {
    fn from(answer: AppendAnswer) -> Self {
        match answer {
            AppendAnswer::Matched(at) => Ok(at.map(LogId::from)),
            AppendAnswer::Conflict(at) => Err(StreamAppendError::Conflict(at.into())),
            AppendAnswer::HigherVote(vote) => Err(StreamAppendError::HigherVote(Vote::from(vote))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Encoded, Payload, log_id};
    use swarm_model::id::NodeId;
    use swarm_net::frame;

    fn request() -> AppendRequest {
        let vote = Ballot { term: 3, node: NodeId::from_raw(9), committed: true };
        AppendRequest {
            vote: vote.into(),
            prev_log_id: Some(log_id(2, 7)),
            entries: vec![
                Entry::new(log_id(3, 8), Payload::Blank),
                Entry::new(log_id(3, 9), Payload::Normal(Encoded::new(&[42, 43]))),
            ],
            leader_commit: Some(log_id(2, 6)),
        }
    }

    #[test]
    fn format_is_pinned() {
        let bytes = frame::encode(&Append::from(&request()));
        let expect = [1, 3, 9, 1, 1, 2, 7, 1, 2, 6, 2, 3, 1, 3, 3, 4, 0, 1, 42, 43];
        assert_eq!(bytes[..], expect);
    }

    #[test]
    fn batch_round_trips() {
        let bytes = frame::encode(&Append::from(&request()));
        let append: Append = frame::decode(&bytes).expect("just encoded");
        let back = AppendRequest::try_from(append).expect("just encoded");
        assert_eq!(format!("{back:?}"), format!("{:?}", request()));
        assert_eq!(back.entries, request().entries);
    }

    #[test]
    fn lengths_that_do_not_add_up_are_refused() {
        let mut append = Append::from(&request());
        append.heads[1].length += 1;
        assert!(AppendRequest::try_from(append.clone()).is_err());
        append.heads[1].length -= 2;
        assert!(AppendRequest::try_from(append).is_err());
    }

    #[test]
    fn records_behind_the_last_index_are_refused() {
        for index in [u64::MAX, u64::MAX - 1] {
            let mut append = Append::from(&request());
            append.prev = Some(LogAt { term: 2, index });
            assert!(AppendRequest::try_from(append).is_err(), "{index}");
        }
    }

    #[test]
    fn answers_round_trip() {
        let vote = Ballot { term: 3, node: NodeId::from_raw(9), committed: true };
        let at = LogAt { term: 3, index: 8 };
        for answer in [
            AppendAnswer::Matched(None),
            AppendAnswer::Matched(Some(at)),
            AppendAnswer::Conflict(at),
            AppendAnswer::HigherVote(vote),
        ] {
            assert_eq!(AppendAnswer::from(&AppendResult::from(answer.clone())), answer);
        }
    }
}
