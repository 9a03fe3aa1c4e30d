//! Placeholder until the node types follow in the next commit.

use serde::{Deserialize, Serialize};

/// What a node is trusted to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Runs tasks; follows the replicated state; never votes.
    Worker,
    /// May also vote, issue certificates and lead.
    Manager,
}
