//! What the cluster knows: the deterministic state machine, its event feed, and the tables on disk.
//!
//! Synchronous throughout. Agreement (what gets applied, and when) is swarm-raft's.

pub mod codec;
pub mod feed;
pub mod fuzz;
pub mod machine;
pub mod mistake;
pub mod store;
