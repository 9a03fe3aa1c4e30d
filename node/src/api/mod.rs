//! The REST API on the local socket.

pub mod backend;
mod local_logs;
pub mod types;

pub use backend::Backend;
pub use local_logs::local_logs;
