//! Members that lie or send garbage: refused, and the group goes on.

use std::time::Duration;

use bytes::Bytes;
use swarm_net::frame;
use swarm_net::rpc::{Method, RefusalCode};
use swarm_net::transport::CallError;

use crate::harness::{Cluster, id};

const SECOND: Duration = Duration::from_secs(1);

/// A vote as it goes on the wire: term, node, whether a majority gave it.
fn vote(term: u64, node: u128, committed: bool) -> (u64, u128, bool) {
    (term, node, committed)
}

/// A heartbeat, from the fields of its format.
fn heartbeat(vote: (u64, u128, bool)) -> Bytes {
    let nothing = (None::<(u64, u64)>, None::<(u64, u64)>, Vec::<(u64, u32)>::new(), Bytes::new());
    frame::encode(&(vote, nothing))
}

#[tokio::test(start_paused = true)]
async fn node_cannot_speak_as_another() {
    let cluster = Cluster::of(3, 60).await;
    let term = cluster.node(2).status_now().term;
    let liar = cluster.transport(3);
    let forged = [
        (Method::RaftHeartbeat, heartbeat(vote(99, 1, true))),
        (Method::RaftVote, frame::encode(&(vote(99, 1, false), None::<(u64, u64)>, true))),
        (Method::RaftPreVote, frame::encode(&(vote(99, 1, false), None::<(u64, u64)>, false))),
        (
            Method::RaftTransferLeader,
            frame::encode(&(vote(99, 1, true), 3u128, None::<(u64, u64)>)),
        ),
    ];
    for (method, body) in forged {
        let answer = liar.call(id(2), method, body, SECOND).await;
        let Err(CallError::Refused(refusal)) = answer else {
            panic!("{method:?} was answered: {answer:?}")
        };
        assert_eq!(refusal.code, RefusalCode::NotAllowed, "{method:?}");
    }
    assert_eq!(cluster.node(2).status_now().term, term);
    cluster.write(&[1, 2, 3], 1).await;
}

#[tokio::test(start_paused = true)]
async fn garbage_is_refused_by_name() {
    let cluster = Cluster::of(3, 61).await;
    let sender = cluster.transport(3);
    for method in
        [Method::RaftHeartbeat, Method::RaftVote, Method::RaftPreVote, Method::RaftTransferLeader]
    {
        for body in [&[][..], &[1], &[9; 40], &[255; 4000]] {
            let answer = sender.call(id(2), method, Bytes::copy_from_slice(body), SECOND).await;
            let Err(CallError::Refused(refusal)) = answer else {
                panic!("{method:?} was answered: {answer:?}")
            };
            assert_eq!(refusal.code, RefusalCode::Malformed, "{method:?}");
        }
    }
    for method in [Method::RaftAppend, Method::RaftSnapshot] {
        let hello = Bytes::from_static(&[7; 20]);
        let mut stream = sender.open(id(2), method, hello, SECOND).await.expect("opened");
        // It may be closed before this arrives.
        drop(stream.send(Bytes::from_static(&[9; 100])).await);
        assert!(matches!(stream.recv().await, Ok(None) | Err(_)), "{method:?} was answered");
    }
    cluster.write(&[1, 2, 3], 1).await;
    cluster.all_have(1).await;
}

#[tokio::test(start_paused = true)]
async fn snapshot_that_is_not_what_was_announced_is_refused() {
    /// `SnapshotAnswer::Damaged` and `Failed` on the wire: format, variant.
    const DAMAGED: [u8; 2] = [1, 1];
    const FAILED: [u8; 2] = [1, 2];
    let cluster = Cluster::of(3, 62).await;
    cluster.write(&[1, 2, 3], 1).await;
    let sender = cluster.transport(1);
    let term = cluster.node(1).status_now().term;
    let members = (vec![vec![1u128, 2, 3]], vec![1u128, 2, 3]);
    let head = (Some((term.0, 5000u64)), Some((term.0, 0u64)), members);
    let cases = [
        // Another checksum; too few bytes; more than any snapshot has; right bytes that are no state.
        (4u64, 0u32, DAMAGED),
        (9, 0, DAMAGED),
        (u64::MAX, 0, FAILED),
        (4, crc32c::crc32c(b"junk"), FAILED),
    ];
    for (length, crc, expect) in cases {
        let hello = frame::encode(&(vote(term.0, 1, true), &head, length, crc));
        let mut stream =
            sender.open(id(3), Method::RaftSnapshot, hello, SECOND).await.expect("opened");
        stream.send(Bytes::from_static(b"junk")).await.expect("open");
        stream.finish();
        let answer = stream.recv().await.expect("an answer").expect("an answer");
        assert_eq!(answer[..2], expect, "length {length}");
    }
    cluster.write(&[1, 2, 3], 2).await;
    cluster.all_have(2).await;
}
