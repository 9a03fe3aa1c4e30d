//! One running node: leader loop, dispatch, agent, runtimes and API.

pub mod api;
