//! Whole clusters in one process under one seed: real nodes on a simulated network, disk, clock and
//! runtime, with faults first and a demand for convergence after.
//!
//! Each run has one thread and paused time, so hours pass in seconds; a failing seed is printed and
//! replays (see docs/design/simulation.md). What only a real kernel can do wrong is found by the
//! real clusters next door.

mod asked;
pub mod chance;
pub mod clock;
pub mod cluster;
pub mod converge;
pub mod faults;
mod final_log;
pub mod invariants;
pub mod ledger;
pub mod observer;
pub mod run;
pub mod scenarios;
pub mod trace;
pub mod workload;
pub mod world;

pub use cluster::{Cluster, Kill, Shape};
pub use run::{Report, random, scenario};
