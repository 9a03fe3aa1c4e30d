//! What services were, and how far their updates are, as JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use swarm_model::meta::Version;
use swarm_model::service::ServiceSpec;
use swarm_model::units::Timestamp;

/// How far an update of a service is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct UpdateStatus {
    /// `updating`, `canary` (which has proven itself and waits), `paused`, `completed`,
    /// `rollback_started`, `rollback_paused`, `rollback_completed`.
    pub state: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it was completed.
    pub completed_at: Option<Timestamp>,
    /// Why it is paused, or was rolled back.
    pub message: String,
}

/// A spec that a service has, or had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct HistoryEntry {
    /// The service's version when it became its spec; names it.
    pub version: Version,
    /// The version of its template.
    pub template_version: Version,
    /// When.
    pub at: Timestamp,
    /// Who asked for it; empty when that is not known.
    pub by: String,
    /// `created`, `updated`, or `rolled back to VERSION`.
    pub cause: String,
    /// Whether its template once ran in all slots.
    pub ran: bool,
    /// Whether it is the service's spec now.
    pub current: bool,
    /// The spec.
    pub spec: ServiceSpec,
}

/// How two specs of a service differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct SpecDiff {
    /// The one.
    pub from: Version,
    /// The other.
    pub to: Version,
    /// The fields that differ.
    pub differences: Vec<Difference>,
}

/// A field that two specs have different values in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct Difference {
    /// Its path, like `TaskTemplate.Runtime.Process.Command`.
    pub field: String,
    /// In the one; `None` when it is not set there.
    #[schema(value_type = Object, nullable)]
    pub from: Option<serde_json::Value>,
    /// In the other.
    #[schema(value_type = Object, nullable)]
    pub to: Option<serde_json::Value>,
}
