//! The mesh: one UDP socket, QUIC with mutual TLS, a connection per peer and lane.
//!
//! Who may call what is `rpc`'s to say; what a call means is the handler's.

mod codes;
mod framed;

pub(crate) use framed::{FrameReader, FrameWriter};
