//! Decisions: `reconcile(view, scope, now, ids) -> Plan`.
//!
//! Pure: no I/O, no async, no clock, no randomness; the same arguments give the same plan. Nothing
//! is remembered between two calls: delays, restart counts and update progress are read off the
//! objects of the view, so a new leader goes on where the old one stopped. This crate proposes
//! nothing and talks to no node. docs/design/control.md tells how the parts work together.

pub mod bench;
mod budget;
mod draft;
mod enforcer;
mod facts;
pub mod forecast;
mod lifecycle;
mod orchestrator;
mod outlook;
mod reaper;
mod rebalance;
mod reconcile;
mod restart;
pub mod schedule;
mod scheduler;
mod scope;
mod survey;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use budget::held_back;
pub use draft::CHANGES_MAX;
pub use lifecycle::ORPHAN_AFTER;
pub use orchestrator::job::held_up_by;
pub use outlook::{Outlook, outlook};
pub use rebalance::{Move, rebalance};
pub use reconcile::reconcile;
pub use restart::{DELAY_FIRST, DELAY_MAX, HEALTHY_AFTER};
pub use scheduler::explain::{Explanation, NodeVerdict, PreferenceScore, Score, Waiting, explain};
pub use scope::Scope;
