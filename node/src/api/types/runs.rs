//! Runs of jobs as JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use swarm_model::meta::{Revision, Version};
use swarm_model::units::Timestamp;

/// A run of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct RunEntry {
    /// Its number, from 1.
    pub number: u64,
    /// The revision at which it began.
    pub began: Revision,
    /// `active`, `complete`, `failed`, `replaced`, `stopped`, `skipped`.
    pub state: String,
    /// Why it failed, or was skipped; of one that goes on: whose end it waits for.
    pub reason: String,
    /// So many slots have to succeed.
    pub completions: u32,
    /// So many did.
    pub succeeded: u32,
    /// Tasks that run now.
    pub running: u32,
    /// Tasks that failed, over all slots.
    pub failures: u32,
    /// The job's template version when it began.
    pub template_version: Version,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The time of the schedule that it is for.
    pub due: Option<Timestamp>,
}
