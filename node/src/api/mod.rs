//! The REST API on the local socket.
//!
//! [`Server`] takes connections, `routes` lists what can be asked, each noun has its file. All that the
//! API knows of the node comes through [`Backend`].

mod answer;
pub mod backend;
mod change;
mod cluster;
mod configs;
mod consistency;
mod disk_writes;
mod errors;
mod events;
mod exec;
mod explain;
mod files;
mod filters;
mod forward;
pub(crate) mod fuzz;
mod guards;
mod hostnames;
mod info;
mod local_logs;
mod log_lane;
mod logs;
mod nodes;
mod openapi;
mod plan;
mod planning;
mod rebalance;
mod recovery;
mod request;
mod resolve;
mod routes;
mod runs;
mod server;
mod services;
mod session;
mod socket;
mod state;
mod tasks;
mod tokens;
mod top;
pub mod types;
mod updates;
mod written;

pub use backend::Backend;
pub use exec::ExecSpec;
pub use local_logs::local_logs;
pub use server::Server;
pub use session::PROTOCOL;
pub use socket::{BindError, SOCKET_NAME};
pub use top::{TopEntry, TopProcess};
