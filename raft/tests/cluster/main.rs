//! Whole consensus groups on a simulated network and simulated disks.

mod election;
mod group;
mod harness;
mod reads;
mod replication;
