//! Agreement between the nodes: openraft over the tables of swarm-state and the mesh of swarm-net.
//!
//! [`Consensus`] is the whole interface; no type of openraft leaves this crate. What is agreed on is
//! the state machine's part, who should vote is computed in [`membership`]. See docs/design/raft.md.

pub mod fuzz;
pub mod membership;

mod coherence;
mod consensus;
mod contact;
mod error;
mod gate;
mod group;
mod log_store;
mod machine;
mod network;
mod news;
mod options;
mod pace;
mod pacemaker;
mod payload;
mod propose;
mod readmission;
mod replica;
mod service;
mod snapshot;
mod status;
mod steward;
mod timing;
mod types;
mod wire;
mod work;

pub use consensus::Consensus;
pub use error::Error;
pub use gate::Gate;
pub use group::MAX_LEARNERS;
pub use news::{NEWS_KEPT, News};
pub use options::{DEFAULT_SNAPSHOT_INTERVAL, Options, Tables};
pub use propose::{Applied, PROPOSE_DEADLINE};
pub use readmission::Readmission;
pub use replica::{LEAP, Replica, Tell, beyond, found};
pub use status::{Part, Status};
pub use timing::Timing;
