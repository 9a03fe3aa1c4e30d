//! From the leader to the agents: each node's share of the view, streamed as differences.
//!
//! The leader's end of a session is `session`, the agent's end lives in `agent`.

pub mod assignments;
mod pace;
pub mod session;
pub mod wire;
