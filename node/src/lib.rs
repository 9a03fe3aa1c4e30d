//! One running node: leader loop, dispatch, agent, runtimes and API.

pub mod api;
pub mod logs;
pub mod runtime;
