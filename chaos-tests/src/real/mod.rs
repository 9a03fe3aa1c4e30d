//! Clusters of real daemons on this machine: the binary as users get it, real files, real sockets.
//!
//! Everything here looks at the product from outside: its command line, its API, its processes.

mod address;
mod binary;
mod client;
mod cluster;
mod command;
mod cpu;
mod disk;
mod disk_usage;
pub mod network;
mod node;
mod partition;
pub mod processes;
pub mod spec;
mod wait;

pub use address::Block;
pub use binary::swarm;
pub use client::{Client, ClientError, Reply};
pub use cluster::{Cluster, encode};
pub use command::{Output, Swarm};
pub use cpu::{Controller, CpuLimit};
pub use disk::Disk;
pub use disk_usage::disk_usage;
pub use node::NodeProcess;
pub use partition::{Partition, all_links, can_partition};
pub use wait::{Stopwatch, wait_until};
