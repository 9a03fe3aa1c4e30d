//! The cluster as one object: its settings, and how its join tokens are told apart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::epoch::Epoch;
use crate::id::{ClusterId, NodeId, TokenId};
use crate::meta::Meta;
use crate::node::Role;
use crate::service::SpecError;
use crate::units::Timestamp;

/// Settings of the whole cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase", default)]
pub struct ClusterSpec {
    /// Ended tasks kept in each slot.
    pub task_history_limit: u32,
    /// Log entries between snapshots.
    pub snapshot_interval: u64,
    /// Life of a node certificate.
    pub cert_expiry_ms: u64,
    /// The most voters: odd, at most 7.
    pub max_voters: u32,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            task_history_limit: 5,
            snapshot_interval: 10_000,
            cert_expiry_ms: 2160 * 3600 * 1000,
            max_voters: 5,
        }
    }
}

impl ClusterSpec {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn validate(&self) -> Result<(), SpecError> {
        if self.cert_expiry_ms < 3600 * 1000 {
            return Err(SpecError::new("CertExpiryMs", "a certificate lives at least 1h"));
        }
        if self.snapshot_interval < 100 {
            return Err(SpecError::new("SnapshotInterval", "at least 100 log entries"));
        }
        if self.max_voters.is_multiple_of(2) || self.max_voters > 7 {
            return Err(SpecError::new("MaxVoters", "must be 1, 3, 5 or 7"));
        }
        Ok(())
    }
}

/// How often each role's standing join token was replaced. The secrets themselves are never stored
/// in the replicated state: managers derive them from the cluster secret and this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct TokenRotation {
    /// For workers.
    pub worker: u64,
    /// For managers.
    pub manager: u64,
}

impl TokenRotation {
    /// The number of `role`.
    pub fn of(&self, role: Role) -> u64 {
        match role {
            Role::Worker => self.worker,
            Role::Manager => self.manager,
        }
    }
}

/// A join token with limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct LimitedToken {
    /// SHA-256 of its secret.
    pub secret_sha256: [u8; 32],
    /// What it makes of who joins.
    pub role: Role,
    /// Worthless from then on.
    pub expires_at: Option<Timestamp>,
    /// Joins left.
    pub uses_left: Option<u32>,
}

impl LimitedToken {
    /// Whether it lets a node in at `now`.
    pub fn is_worth(&self, now: Timestamp) -> bool {
        self.uses_left != Some(0) && self.expires_at.is_none_or(|end| end > now)
    }
}

/// The cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct Cluster {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: ClusterId,
    /// Version and times.
    pub meta: Meta,
    /// Settings.
    pub spec: ClusterSpec,
    /// The standing tokens.
    pub tokens: TokenRotation,
    /// Tokens with limits.
    pub limited_tokens: BTreeMap<TokenId, LimitedToken>,
    /// The CA certificate, DER.
    pub ca_certificate: Vec<u8>,
    /// Which recovery of the cluster this is.
    #[serde(default)]
    pub epoch: Epoch,
    /// Nodes that recoveries left out, with where they were last: they are told so.
    #[serde(default)]
    pub left_out: BTreeMap<NodeId, String>,
}
