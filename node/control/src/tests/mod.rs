//! What reconcile does, told by example; `property` lets chance choose the examples.

mod arbitrary;
mod global;
mod lost;
mod moving;
mod placing;
mod property;
mod restarting;
mod scaling;
mod updating;
