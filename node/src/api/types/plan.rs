//! What a plan is asked about, as JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use swarm_control::Move;
use swarm_model::meta::Version;
use swarm_model::service::ServiceSpec;

use super::NodeUpdate;

/// Changes of which is asked what would become of them, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct PlanRequest {
    /// At least one, at most 100.
    pub changes: Vec<Planned>,
}

/// One change; nothing is changed by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all_fields = "PascalCase")]
pub enum Planned {
    /// Declare a service.
    CreateService {
        /// The declaration.
        spec: Box<ServiceSpec>,
    },
    /// Declare it anew.
    UpdateService {
        /// Name, id or unique prefix of the id.
        service: String,
        /// Refused when it has another one by now.
        #[serde(default)]
        version: Option<Version>,
        /// The declaration.
        spec: Box<ServiceSpec>,
    },
    /// Take it back to what it was.
    RollbackService {
        /// Name, id or unique prefix of the id.
        service: String,
        /// A version of its history; the last one that ran if none is given.
        #[serde(default)]
        to: Option<Version>,
    },
    /// End it.
    RemoveService {
        /// Name, id or unique prefix of the id.
        service: String,
    },
    /// Change what people decide about a node.
    UpdateNode {
        /// Id, host name, unique prefix of the id, or self.
        node: String,
        /// The change.
        update: NodeUpdate,
    },
}

/// What became of a request to even things out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Rebalanced {
    /// The tasks that would be better off elsewhere.
    pub moves: Vec<Move>,
    /// How many of them are to move.
    pub applied: u32,
    /// How many changed in the same moment, and stay.
    pub refused: u32,
}
