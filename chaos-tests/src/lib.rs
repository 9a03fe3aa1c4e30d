//! Clusters under faults: simulated and real ones, what must hold of them, and how fast they are.
//!
//! Nothing here is part of the product.

pub mod bench;
pub mod real;
pub mod sim;
