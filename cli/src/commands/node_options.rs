//! The options of whatever starts a node: `init` and `join`.

use clap::Args;
use swarm_model::node::Availability;

use crate::parse::address::{self, LocalAddress};
use crate::parse::generic;

/// Where a new node listens, and whether it takes tasks.
#[derive(Debug, Args)]
pub(crate) struct NodeOptions {
    /// Where other nodes reach this one [default: the address that leads to them, if there is one]
    #[arg(long, value_name = "IP|IFACE[:PORT]", value_parser = address::local)]
    pub(crate) advertise_addr: Option<LocalAddress>,
    /// The UDP address to listen on; it carries everything [default: 0.0.0.0:2377]
    #[arg(long, value_name = "IP|IFACE[:PORT]", value_parser = address::local)]
    pub(crate) listen_addr: Option<LocalAddress>,
    /// Whether this node takes tasks: active, pause or drain
    #[arg(long, value_name = "WORD", default_value = "active")]
    pub(crate) availability: Availability,
    /// Offer so much of something that tasks can ask for, like licence=2; may be repeated
    #[arg(long = "generic-resource", value_name = "KIND=N", value_parser = generic::offer)]
    pub(crate) generic_resources: Vec<(String, u64)>,
    /// Stay in the foreground, as the node itself
    #[arg(long)]
    pub(crate) foreground: bool,
}
