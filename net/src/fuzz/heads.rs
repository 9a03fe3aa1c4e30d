//! Heads of requests, answers and messages, hello and refusal.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use swarm_model::epoch::Epoch;
use swarm_model::fuzz::Target;

use super::message;
use crate::frame::{self, MAX_FRAME};
use crate::quic::{Hello, read_farewell};
use crate::rpc::wire::{self, RequestHead, Status};
use crate::rpc::{Method, Refusal, RefusalCode};

/// A request's head.
pub(super) const REQUEST: Target = Target::new("net.request-head", request, || {
    let head = |method: &Method| {
        let deadline = Duration::from_millis(1500);
        let head = RequestHead { method: method.number(), deadline, length: 300 };
        head.encode().expect("is short").to_vec()
    };
    Method::ALL.iter().map(head).collect()
});
/// An answer's or a message's head.
pub(super) const ANSWER: Target = Target::new("net.answer-head", answer, || {
    let done = wire::encode_answer(Status::Done, 300).expect("is short").to_vec();
    vec![done, wire::encode_message(7).expect("is short").to_vec()]
});
/// The first words of an accepting side.
pub(super) const HELLO: Target = Target::new("net.hello", message::<Hello>, || {
    let hello = |addr: &str| {
        let observed: SocketAddr = addr.parse().expect("is an address");
        move |epoch| frame::encode(&Hello { observed, epoch }).to_vec()
    };
    vec![hello("10.0.0.1:2377")(None), hello("[fe80::1]:2377")(Some(Epoch::FIRST.next(7)))]
});
/// What is answered instead of a result.
pub(super) const REFUSAL: Target = Target::new("net.refusal", message::<Refusal>, || {
    let refusal = Refusal::new(RefusalCode::NotLeader, "the leader is elsewhere");
    vec![frame::encode(&refusal.with_detail(Bytes::from_static(b"10.0.0.1"))).to_vec()]
});

/// The last words on a connection.
pub(super) const FAREWELL: Target = Target::new(
    "net.farewell",
    |bytes| read_farewell(bytes).is_some(),
    || vec![[b"epoch:", &Epoch::FIRST.to_bytes()[..], &[1]].concat()],
);

fn request(bytes: &[u8]) -> bool {
    let Some(head) = bytes.first_chunk().and_then(|head| RequestHead::decode(*head).ok()) else {
        return false;
    };
    assert!(head.length <= MAX_FRAME);
    assert_eq!(head.encode().and_then(RequestHead::decode), Ok(head));
    Method::from_number(head.method).is_some()
}

fn answer(bytes: &[u8]) -> bool {
    let message = bytes.first_chunk().map(|head| wire::decode_message(*head));
    let answer = bytes.first_chunk().map(|head| wire::decode_answer(*head));
    let lengths =
        [message.and_then(Result::ok), answer.and_then(Result::ok).map(|(_status, length)| length)];
    assert!(lengths.iter().flatten().all(|length| *length <= MAX_FRAME));
    lengths.iter().any(Option::is_some)
}
