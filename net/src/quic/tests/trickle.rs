//! Members that send a byte a second (slow loris): what they began ends at its deadline, gives back what it
//! held, and meanwhile nobody waits. Time is paused: it goes on while the sockets are silent.

use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, RecvStream, SendStream, WriteError};
use tokio::time::{Instant, sleep, timeout};

use super::hostile::raw;
use super::{Node, two};
use crate::conformance::LONG;
use crate::frame;
use crate::quic::limits;
use crate::rpc::{Lane, Method, Refusal, RefusalCode};
use crate::transport::Transport;

/// How often a byte comes.
const BEAT: Duration = Duration::from_secs(1);
/// What each large request or message announces: four of them fill a member's budget.
const ANNOUNCED: usize = 2 << 20;
const LARGE: [u8; 4] = [0, 32, 0, 0];

/// A stream that trickles.
struct Loris {
    to: SendStream,
    from: RecvStream,
}

impl Loris {
    async fn begin(connection: &Connection, begin: &[u8]) -> Self {
        let (mut to, from) = connection.open_bi().await.expect("streams are left");
        to.write_all(begin).await.expect("open");
        Self { to, from }
    }

    /// One more byte, unless the other end has had enough.
    async fn drip(&mut self) -> bool {
        match self.to.write_all(&[0]).await {
            Ok(()) => true,
            Err(WriteError::Stopped(_)) => false,
            Err(error) => panic!("not the stream alone: {error}"),
        }
    }
}

/// All drip until none may, while small calls are answered at once; how long that took.
async fn drip_all(all: &mut [Loris], left: &Node, right: &Node) -> Duration {
    let (began, limit) = (Instant::now(), Duration::from_secs(600));
    let body = Bytes::from_static(b"small");
    loop {
        let mut open = 0;
        for loris in &mut *all {
            open += usize::from(loris.drip().await);
        }
        let asked = Instant::now();
        let answer = left.mesh.call(right.id, Method::Propose, body.clone(), LONG).await;
        assert_eq!(answer, Ok(body.clone()));
        assert!(asked.elapsed() < BEAT, "a small call waited for {:?}", asked.elapsed());
        if open == 0 {
            return began.elapsed();
        }
        assert!(began.elapsed() < limit, "{open} streams trickle for ever");
        sleep(BEAT).await;
    }
}

/// What was held came back: a request as long as those that took it all gets through.
async fn budget_is_free(left: &Node, right: &Node) {
    let large = Bytes::from(vec![7; ANNOUNCED]);
    let answer = left.mesh.call(right.id, Method::Propose, large.clone(), LONG).await;
    assert!(answer == Ok(large), "the budget did not come back");
}

#[tokio::test(start_paused = true)]
async fn requests_that_trickle_are_refused_at_their_deadline_and_nobody_waits() {
    let (left, right) = two();
    let connection = raw(&left, &right, Lane::Rpc).await;
    let propose = Method::Propose.number();
    let mut all = vec![
        Loris::begin(&connection, &[1]).await,
        Loris::begin(&connection, &[1, propose, 0, 0, 255, 255, 0, 0, 31, 255]).await,
    ];
    for _ in 0..2 * limits::MEMBER_BYTES / ANNOUNCED {
        let head = [&[1, propose, 0, 0, 255, 255][..], &LARGE].concat();
        all.push(Loris::begin(&connection, &head).await);
    }
    let took = drip_all(&mut all, &left, &right).await;
    let deadline = limits::REQUEST_DEADLINE;
    assert!((deadline..deadline + 5 * BEAT).contains(&took), "they ended after {took:?}");
    // The first one's head was complete in time, and made no sense.
    for loris in &mut all[1..] {
        let answer = timeout(LONG, loris.from.read_to_end(1 << 10)).await.expect("in time");
        let refusal: Refusal = frame::decode(&answer.expect("answered")[5..]).expect("a refusal");
        assert_eq!(refusal.code, RefusalCode::TimedOut);
    }
    budget_is_free(&left, &right).await;
}

#[tokio::test(start_paused = true)]
async fn messages_that_trickle_end_their_streams_at_their_deadline_and_nobody_waits() {
    let (left, right) = two();
    let connection = raw(&left, &right, Lane::Rpc).await;
    let session = [1, Method::Session.number(), 0, 0, 255, 255, 0, 0, 0, 0];
    let mut all = vec![Loris::begin(&connection, &[&session[..], &[0, 0, 31, 255]].concat()).await];
    for _ in 0..limits::MEMBER_BYTES / ANNOUNCED {
        all.push(Loris::begin(&connection, &[&session[..], &LARGE].concat()).await);
    }
    let took = drip_all(&mut all, &left, &right).await;
    let deadline = limits::message_deadline(ANNOUNCED);
    assert!((deadline..deadline + 5 * BEAT).contains(&took), "they ended after {took:?}");
    for loris in &mut all {
        // The hello was taken and echoed; no message ever was.
        let said = timeout(LONG, loris.from.read_to_end(100)).await.expect("in time");
        assert_eq!(said.expect("ended"), [0; 9]);
    }
    budget_is_free(&left, &right).await;
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_lives_and_a_slow_message_that_keeps_up_arrives() {
    let (left, right) = two();
    let connection = raw(&left, &right, Lane::Rpc).await;
    let session = [1, Method::Session.number(), 0, 0, 255, 255, 0, 0, 0, 0];
    let mut slow = Loris::begin(&connection, &session).await;
    // Between messages a stream may be silent for ever.
    sleep(Duration::from_secs(3600)).await;
    slow.to.write_all(&LARGE).await.expect("open");
    for _ in 0..ANNOUNCED / limits::SLOWEST as usize {
        slow.to.write_all(&vec![3; limits::SLOWEST as usize]).await.expect("keeps up");
        sleep(BEAT).await;
    }
    slow.to.finish().expect("open");
    let said = timeout(LONG, slow.from.read_to_end(2 * ANNOUNCED)).await.expect("in time");
    assert_eq!(said.expect("ended").len(), 9 + 4 + ANNOUNCED);
}
