//! Every limit of the mesh in one place, and QUIC's settings made of them.

use std::sync::Arc;
use std::time::Duration;

use quinn::{IdleTimeout, TransportConfig, VarInt};

use crate::rpc::Lane;

/// Bytes a peer may send on one stream before they are read.
pub(crate) const STREAM_WINDOW: u32 = 256 << 10;
/// Bytes an admitted peer may send on one connection before they are read.
pub(crate) const CONNECTION_WINDOW: u32 = 4 << 20;
/// Bytes unsent or unacknowledged on one connection before writers wait.
const SEND_WINDOW: u64 = 4 << 20;
/// Concurrent streams of a peer that is not admitted yet, or never is (join lane).
pub(crate) const STRANGER_STREAMS: u32 = 4;
/// Concurrent streams of a member on the raft and gossip lanes.
const MEMBER_STREAMS: u32 = 32;
/// On the rpc lane each waiting API client of a whole node takes one.
const RPC_STREAMS: u32 = 1024;
/// Bytes of requests and messages of one member on one lane that are being read or dealt with.
pub(crate) const MEMBER_BYTES: usize = 8 << 20;
/// The same of one connection without a certificate.
pub(crate) const STRANGER_BYTES: usize = 256 << 10;
/// Requests and messages up to this count for nothing: streams are few enough.
pub(crate) const FREE_BYTES: usize = 8 << 10;
/// Bytes of unread datagrams on one connection; the oldest are dropped.
const DATAGRAM_BUFFER: usize = 128 << 10;
/// The same where nobody reads them.
const UNASKED_DATAGRAMS: usize = 2 << 10;
/// Datagrams that wait for a connection being dialed; the oldest are dropped.
pub(crate) const WAITING_DATAGRAMS: usize = 16;
/// Bytes of the hello that the accepting side says.
pub(crate) const HELLO_SIZE: usize = 256;

/// Handshakes at once; more are refused.
pub(crate) const HANDSHAKES: usize = 256;
/// From this many on, a stranger must prove its address before it costs more (retry token).
pub(crate) const HANDSHAKES_UNPROVEN: usize = 16;
/// First packets waiting to be looked at.
pub(crate) const WAITING_INITIALS: usize = 256;
/// Bytes kept for one handshake, and for all, while they wait.
pub(crate) const INITIAL_BYTES: u64 = 16 << 10;
/// See [`INITIAL_BYTES`].
pub(crate) const ALL_INITIAL_BYTES: u64 = 2 << 20;
/// Connections without a certificate at once.
pub(crate) const STRANGERS: usize = 32;
/// Connections of one member at once; beyond it the oldest is closed.
pub(crate) const CONNECTIONS_PER_MEMBER: usize = 16;

/// A dial gives up after this; the next call dials again.
pub(crate) const DIAL_DEADLINE: Duration = Duration::from_secs(3);
/// A peer that calls us while our dial to it is older than this makes the dial start over.
pub(crate) const STALE_DIAL: Duration = Duration::from_millis(250);
/// First and longest wait between dials that failed; it doubles.
pub(crate) const BACK_OFF: (Duration, Duration) =
    (Duration::from_millis(50), Duration::from_secs(1));
/// An accepted handshake must end within this.
pub(crate) const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(5);
/// A request must have arrived within this after its stream began.
pub(crate) const REQUEST_DEADLINE: Duration = Duration::from_secs(10);
/// A message of a stream that has begun must have arrived within this, and what [`SLOWEST`] takes besides.
pub(crate) const MESSAGE_DEADLINE: Duration = Duration::from_secs(20);
/// Bytes a second that a long message must come with: half of what a bad link still carries.
pub(crate) const SLOWEST: u32 = 32 << 10;
/// How often the certificates of live connections are looked at.
pub(crate) const EXPIRY_CHECK: Duration = Duration::from_secs(10);
/// An answer must be taken within this.
pub(crate) const ANSWER_DEADLINE: Duration = Duration::from_secs(30);
/// The longest that a call may run, whatever its caller asks.
pub(crate) const LONGEST_CALL: Duration = Duration::from_secs(600);
/// A connection without a certificate ends after this.
pub(crate) const STRANGER_LIFETIME: Duration = Duration::from_secs(30);
/// How long closing waits for the peers to hear of it.
pub(crate) const CLOSE_DEADLINE: Duration = Duration::from_millis(500);

/// The first guess of a round trip: it spaces the first retransmissions of a handshake, so it is
/// what a dial to a node that comes up meanwhile loses. A slower link costs some duplicates only.
const FIRST_ROUND_TRIP: Duration = Duration::from_millis(100);

/// Silence after which a connection is dead, and how often a dialing side breaks the silence.
const fn silence(lane: Lane) -> (Duration, Option<Duration>) {
    match lane {
        Lane::Join => (Duration::from_secs(10), None),
        Lane::Raft | Lane::Rpc => (Duration::from_secs(10), Some(Duration::from_secs(4))),
        // Probes go to a random peer each time: a connection is kept for the next one.
        Lane::Gossip => (Duration::from_secs(90), None),
    }
}

/// How long a message of `length` bytes may take once it has begun.
pub(crate) fn message_deadline(length: usize) -> Duration {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    MESSAGE_DEADLINE + Duration::from_secs(1) * length / SLOWEST
}

/// Streams that an admitted member may have open on `lane`.
pub(crate) const fn streams(lane: Lane) -> u32 {
    match lane {
        Lane::Join => STRANGER_STREAMS,
        Lane::Rpc => RPC_STREAMS,
        Lane::Raft | Lane::Gossip => MEMBER_STREAMS,
    }
}

fn common(silence: Duration) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .send_window(SEND_WINDOW)
        .max_idle_timeout(IdleTimeout::try_from(silence).ok())
        .initial_rtt(FIRST_ROUND_TRIP);
    config
}

/// For connections that others open: little is granted until the peer is admitted.
pub(crate) fn accepting() -> Arc<TransportConfig> {
    // The smaller of both sides' silences counts, so the dialing side decides by lane.
    let mut config = common(silence(Lane::Gossip).0);
    config
        .receive_window(VarInt::from_u32(STREAM_WINDOW))
        .max_concurrent_bidi_streams(VarInt::from_u32(STRANGER_STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER));
    Arc::new(config)
}

/// For connections that this node opens on `lane`: the peer may say hello, nothing else unasked.
pub(crate) fn dialing(lane: Lane) -> Arc<TransportConfig> {
    let (silence, keep_alive) = silence(lane);
    let mut config = common(silence);
    config
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(1))
        // None would also forbid to send; answers come on the peer's own connection.
        .datagram_receive_buffer_size(Some(UNASKED_DATAGRAMS))
        .keep_alive_interval(keep_alive);
    Arc::new(config)
}
