//! Clusters under faults: simulated and real ones, what must hold of them, and how fast they are.
//!
//! Nothing here is part of the product.

pub mod bench;
pub mod catalogue;
pub mod decoders;
pub mod history;
pub mod invariants;
pub mod load;
pub mod real;
pub mod register;
pub mod sim;
pub mod workload;
