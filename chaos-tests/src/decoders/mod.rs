//! Hostile bytes for every decoder: what peers, disks and clients may send is changed a little, by seed,
//! and must be refused or taken, without a panic and without memory that the bytes do not pay for.
//!
//! Structure-aware (valid values are what is changed, and what was taken is changed further), blind to coverage.
//! The decoders themselves are listed by their crates' `fuzz` modules.

mod cli;
pub mod corpus;
pub mod meter;
mod mutate;
mod run;
mod whole;

pub use run::{Finding, Report, STACK, feed, run};

use swarm_model::fuzz::Target;

/// Every decoder, by name.
pub fn targets() -> Vec<Target> {
    let lists = [
        swarm_model::fuzz::TARGETS,
        swarm_state::fuzz::TARGETS,
        swarm_net::fuzz::TARGETS,
        swarm_raft::fuzz::TARGETS,
        swarm_node::fuzz::TARGETS,
        cli::TARGETS,
        whole::TARGETS,
    ];
    lists.concat()
}
