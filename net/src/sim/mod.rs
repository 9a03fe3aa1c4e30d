//! A whole network inside one process, for tests: delays, loss, cuts, stops and restarts, all by seed.
//!
//! It carries the [`Transport`](crate::transport::Transport) port with the same admission rules, limits and
//! errors as QUIC does, on the runtime's clock, so a paused clock makes hours pass in seconds. It
//! models what QUIC shows to its users (lost packets are late messages, a cut link is silence until the idle
//! time-out), not packets, congestion or TLS.

mod connection;
mod link;
mod network;
mod port;
mod pump;
mod state;
#[cfg(test)]
mod tests;

pub use link::Link;
pub use network::Network;
