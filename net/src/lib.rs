//! Bytes between nodes: who a node is (`ca`), the QUIC mesh (`quic`), calls and streams on it (`rpc`,
//! `transport`), and gossip.
//!
//! What the bytes mean is decided above: this crate knows methods by name, caller and shape only.
//! No type of quinn, rustls or foca leaves it.

pub mod ca;
#[cfg(test)]
pub(crate) mod conformance;
mod error;
pub mod frame;
pub mod fuzz;
pub mod gossip;
mod late;
pub mod quic;
pub mod rpc;
pub mod sim;
mod stream;
pub mod task;
pub mod transport;

pub use error::Error;
