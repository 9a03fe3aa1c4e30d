//! The REST API on the local socket.

pub mod types;
