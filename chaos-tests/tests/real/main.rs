//! Real daemons under real faults and bad input: what `swarm` promises, seen from outside.
//!
//! One program for all of these tests, because linking one for each would take longer than they do.

mod adoption;
mod bad_configuration;
mod bad_data_dir;
mod bad_disk;
mod bad_programs;
mod bad_requests;
mod bad_tokens;
mod commands;
mod copies;
mod doctor;
mod documents;
mod doubles;
mod exec;
mod forwards;
mod health;
mod hostile_peer;
mod joining;
mod leader;
mod leaving;
mod lost_replica;
mod lost_worker;
mod no_quorum;
mod partitions;
mod plans;
mod reboots;
mod recoveries;
mod recovery;
mod restarts;
mod support;
mod top;
