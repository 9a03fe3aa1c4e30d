//! Gossip between nodes: who is alive, where, and what each says about itself.
//!
//! A hint, never the truth (that is the replicated state): it lets the leader notice a dead node in a second or
//! two and carries task states past the leader. Only nodes that the transport admits take part.
//! docs/design/gossip.md says why it is built as it is.

mod codec;
mod config;
mod core;
mod driver;
pub(crate) mod fuzz;
mod health;
mod identity;
mod members;
mod membership;
mod packet;
mod probe;
mod status;
#[cfg(test)]
mod tests;
mod timers;

pub use config::GossipConfig;
pub use driver::{Gossip, Statuses};
pub use members::{Liveness, MemberInfo, MemberView};
pub use status::{MAX_NODE_BYTES, StatusError, StatusKey, StatusView};
