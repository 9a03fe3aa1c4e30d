//! Calls between nodes: which there are, who may make them, and their first bytes on a stream.
//!
//! Carrying them is the transports' part; answering them the handler's.

pub(crate) mod admission;
mod method;
mod refusal;
pub(crate) mod wire;

pub use method::{Callers, Kind, Lane, Method, Rule};
pub use refusal::{Refusal, RefusalCode};
