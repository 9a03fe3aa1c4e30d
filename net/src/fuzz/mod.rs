//! The decoders of this crate, for the fuzz driver; see [`swarm_model::fuzz`].

mod ca;
mod heads;

pub use ca::ROOT_PEM;

use serde::Serialize;
use serde::de::DeserializeOwned;
use swarm_model::fuzz::Target;

use crate::frame;

/// The decoders of this crate.
pub const TARGETS: &[Target] = &[
    heads::REQUEST,
    heads::ANSWER,
    heads::HELLO,
    heads::FAREWELL,
    heads::REFUSAL,
    ca::CERTIFICATE,
    ca::REQUEST,
    ca::ROOT,
    ca::IDENTITY,
    ca::TOKEN,
    crate::gossip::fuzz::PACKET,
    crate::gossip::fuzz::EXCHANGE,
    crate::gossip::fuzz::CORE,
];

/// Reads a frame; what was read and written again must read as the same bytes.
pub fn message<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> bool {
    let Ok(value) = frame::decode::<T>(bytes) else { return false };
    let written = frame::encode(&value);
    let again: T = frame::decode(&written).expect("was just written");
    assert_eq!(frame::encode(&again), written, "a message is not stable");
    true
}
