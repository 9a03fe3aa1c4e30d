//! Who is who: the cluster's certificate authority, node identities, join tokens.
//!
//! Keys stay in memory and in files of mode 0600. Whether a node still belongs to the cluster is the
//! member list's to say, not a certificate's.

mod base36;
pub(crate) mod certificate;
mod file;
mod identity;
mod key;
mod root;
mod secret;
mod token;

pub use identity::{IDENTITY_FILE, Identity};
pub use key::NodeKey;
pub use root::{CLOCK_SKEW, Root, digest};
pub use secret::ClusterSecret;
pub use token::JoinToken;

/// The name that a node's certificate bears, and that its peers ask for.
pub(crate) fn server_name(node: swarm_model::id::NodeId) -> String {
    format!("{node}.node.swarm")
}
