//! Whole consensus groups on a simulated network and simulated disks.

mod disk;
mod election;
mod group;
mod harness;
mod hostile;
mod readmission;
mod reads;
mod recovery;
mod replication;
