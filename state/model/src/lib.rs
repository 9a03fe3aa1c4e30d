//! The vocabulary of a cluster: ids, specs, states, commands, events and views.
//!
//! Pure: no I/O, no async, no clock, no randomness. What the types mean is in ARCHITECTURE.md's glossary.
//! The JSON form of these types (serde, `PascalCase`) is the API's; the binary form is bincode's, so
//! no field may be skipped, flattened or internally tagged.

pub mod clock;
pub mod id;
pub mod node;
pub mod units;
