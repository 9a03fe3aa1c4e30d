//! Nodes on this machine: prepare a data directory, start its daemon, wait until it serves, clean up.

pub(crate) mod addresses;
pub(crate) mod backend;
pub(crate) mod daemon_log;
pub(crate) mod interfaces;
pub(crate) mod launch;
pub(crate) mod serving;
pub(crate) mod systemd;
