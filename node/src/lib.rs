//! One running node: leader loop, dispatch, agent, runtimes and API.

pub mod agent;
pub mod api;
pub mod assembly;
mod claim;
pub mod clock;
pub mod config;
pub mod core;
pub mod daemon;
mod departure;
pub mod disk;
pub mod dispatch;
pub mod fuzz;
pub mod join;
pub mod keys;
pub mod leader;
mod leave;
pub mod logs;
pub mod members;
pub mod node;
mod propose;
mod remote_logs;
pub mod router;
pub mod runtime;
mod session;
pub mod setup;
mod upkeep;
pub mod work;
