//! The options of whatever starts a node: `init`, `join` and `daemon`.

use clap::Args;
use swarm_model::node::Availability;
use swarm_node::offers::Offers;

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
    #[command(flatten)]
    pub(crate) offers: OfferOptions,
    /// Stay in the foreground, as the node itself
    #[arg(long)]
    pub(crate) foreground: bool,
}

/// What the node offers beside CPU and memory.
#[derive(Debug, Args)]
pub(crate) struct OfferOptions {
    /// Offer so much of something that tasks can ask for, like licence=2; 0 takes it away; may be repeated
    #[arg(long = "generic-resource", value_name = "KIND=N", value_parser = generic::offer)]
    generic_resources: Vec<(String, u64)>,
    /// Offer a device of a class, like camera=/dev/video0; may be repeated; all that are given of a
    /// class replace what there was, `none` takes them away
    #[arg(long = "device", value_name = "CLASS=PATH", value_parser = generic::device_path)]
    devices: Vec<(String, Option<String>)>,
}

impl OfferOptions {
    /// As the node takes them.
    pub(crate) fn offers(&self) -> Offers {
        let generic = self.generic_resources.iter().cloned().collect();
        let mut offers = Offers { generic, ..Offers::default() };
        for (class, path) in &self.devices {
            offers.devices.entry(class.clone()).or_default().extend(path.clone());
        }
        offers
    }
}
