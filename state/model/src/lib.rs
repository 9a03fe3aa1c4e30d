//! The vocabulary of a cluster: ids, specs, states, commands, events and views.
//!
//! Pure: no I/O, no async, no clock, no randomness. What the types mean is in ARCHITECTURE.md's glossary.
//! The JSON form of these types (serde, `PascalCase`) is the API's; the binary form is bincode's, so
//! no field may be skipped, flattened or internally tagged.

pub mod assignment;
pub mod clock;
pub mod cluster;
pub mod command;
pub mod config;
pub mod epoch;
pub mod event;
pub mod fuzz;
pub mod grown;
pub mod id;
pub mod job;
pub mod meta;
pub mod name;
pub mod node;
pub mod outcome;
pub mod placement;
pub mod plan;
pub mod probe;
pub mod ranges;
pub mod resources;
pub mod restart;
pub mod runtime;
pub mod schedule;
pub mod service;
pub mod share;
pub mod task;
pub mod task_state;
pub mod template;
pub mod units;
pub mod update;
pub mod view;
