//! Jobs: services whose tasks end. A run is one execution of a job; what it has achieved is a set of slots.
//!
//! Plain data and its rules; which tasks a run needs is decided elsewhere.

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, ServiceId};
use crate::meta::{Revision, Version};
use crate::ranges::Ranges;
use crate::service::SpecError;
use crate::task::Slot;
use crate::units::Timestamp;

/// The most runs of one job that are remembered.
pub const KEEP_RUNS_MAX: u32 = 100;
/// The longest deadline of a run.
pub const JOB_DEADLINE_MAX_MS: u64 = 366 * 24 * 3600 * 1000;
/// The most bytes that say why a run failed.
pub const RUN_REASON_MAX: usize = 8192;

/// Rules of a job beyond its number of completions. Attempts and back-off are its restart policy's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase", default)]
pub struct JobPolicy {
    /// A run that takes longer has failed; `None` is no bound.
    pub deadline_ms: Option<u64>,
    /// So many ended runs are remembered: those that ended last, and the newest one, for its number; and as
    /// many that did not take place.
    pub keep_runs: u32,
}

impl Default for JobPolicy {
    fn default() -> Self {
        Self { deadline_ms: None, keep_runs: 10 }
    }
}

impl JobPolicy {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub(crate) fn validate(&self) -> Result<(), SpecError> {
        if !(1..=KEEP_RUNS_MAX).contains(&self.keep_runs) {
            let reason = format!("{} is not from 1 to {KEEP_RUNS_MAX}", self.keep_runs);
            return Err(SpecError::new("Job.KeepRuns", reason));
        }
        if self.deadline_ms.is_some_and(|it| !(1..=JOB_DEADLINE_MAX_MS).contains(&it)) {
            let reason = "a deadline is longer than nothing and at most 366 days";
            return Err(SpecError::new("Job.DeadlineMs", reason));
        }
        Ok(())
    }
}

/// How a run stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum RunPhase {
    /// It has tasks, or waits for places.
    Active,
    /// Every slot succeeded.
    Complete,
    /// It was given up.
    Failed {
        /// Why.
        #[serde(rename = "Reason")]
        reason: String,
    },
    /// Another run took its place.
    Replaced,
    /// Somebody stopped it.
    Stopped,
    /// It was due and did not take place.
    Skipped {
        /// Why.
        #[serde(rename = "Reason")]
        reason: String,
    },
}

impl RunPhase {
    /// The word that lists show.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Complete => "complete",
            Self::Failed { .. } => "failed",
            Self::Replaced => "replaced",
            Self::Stopped => "stopped",
            Self::Skipped { .. } => "skipped",
        }
    }

    /// Why it ended so; empty when there is nothing to say.
    pub fn reason(&self) -> &str {
        match self {
            Self::Failed { reason } | Self::Skipped { reason } => reason,
            Self::Active | Self::Complete | Self::Replaced | Self::Stopped => "",
        }
    }
}

/// One execution of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "PascalCase")]
pub struct Run {
    /// Its job.
    #[serde(rename = "ServiceID")]
    pub service: ServiceId,
    /// Its number, from 1; never used again.
    pub number: u64,
    /// The revision at which it began.
    pub began: Revision,
    /// The job's template version then.
    pub template_version: Version,
    /// So many slots have to succeed.
    pub completions: u32,
    /// Of a global job: the nodes that fitted when it began, in order, a slot each.
    pub nodes: Vec<NodeId>,
    /// The slots that succeeded, by their numbers from 1.
    pub succeeded: Ranges,
    /// Tasks that failed, over all slots.
    pub failures: u32,
    /// How it stands.
    pub phase: RunPhase,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The revision at which it ended.
    pub ended: Option<Revision>,
    /// The time of the schedule that it is for.
    pub due: Option<Timestamp>,
}

impl Run {
    /// Whether it goes on.
    pub fn is_active(&self) -> bool {
        match self.phase {
            RunPhase::Active => true,
            RunPhase::Complete
            | RunPhase::Failed { .. }
            | RunPhase::Replaced
            | RunPhase::Skipped { .. }
            | RunPhase::Stopped => false,
        }
    }

    /// The number of `slot` among this run's; `None` when it is none of them.
    pub fn index_of(&self, slot: Slot) -> Option<u32> {
        match slot {
            Slot::Job { run, index } => {
                let own = run == self.number && self.nodes.is_empty();
                (own && (1..=self.completions).contains(&index)).then_some(index)
            }
            Slot::JobNode { run, node } if run == self.number => {
                let at = self.nodes.binary_search(&node).ok()?;
                u32::try_from(at + 1).ok()
            }
            Slot::JobNode { .. } | Slot::Replica(_) | Slot::Node(_) => None,
        }
    }

    /// The slot of number `index`.
    pub fn slot(&self, index: u32) -> Slot {
        let run = self.number;
        let at = usize::try_from(index).ok().and_then(|index| index.checked_sub(1));
        match at.and_then(|at| self.nodes.get(at)) {
            Some(node) => Slot::JobNode { run, node: *node },
            None => Slot::Job { run, index },
        }
    }

    /// The slots that have yet to succeed.
    pub fn open_slots(&self) -> impl Iterator<Item = (u32, Slot)> + '_ {
        self.succeeded.missing(self.completions).map(|index| (index, self.slot(index)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(nodes: &[u128]) -> Run {
        Run {
            service: ServiceId::from_raw(1),
            number: 3,
            began: Revision(9),
            template_version: Version(9),
            completions: if nodes.is_empty() { 4 } else { 2 },
            nodes: nodes.iter().copied().map(NodeId::from_raw).collect(),
            succeeded: Ranges::default(),
            failures: 0,
            phase: RunPhase::Active,
            started_at: Timestamp::default(),
            ended_at: None,
            ended: None,
            due: None,
        }
    }

    #[test]
    fn slots_have_numbers_and_numbers_slots() {
        let (plain, global) = (run(&[]), run(&[5, 7]));
        for (run, count) in [(&plain, 4), (&global, 2)] {
            let open: Vec<_> = run.open_slots().collect();
            assert_eq!(open.len(), count);
            assert!(open.iter().all(|(index, slot)| run.index_of(*slot) == Some(*index)));
        }
        assert_eq!(plain.index_of(Slot::Job { run: 3, index: 5 }), None);
        assert_eq!(plain.index_of(Slot::Job { run: 2, index: 1 }), None);
        assert_eq!(global.index_of(Slot::Job { run: 3, index: 1 }), None);
        assert_eq!(global.index_of(Slot::JobNode { run: 3, node: NodeId::from_raw(6) }), None);
        assert_eq!(plain.index_of(Slot::Replica(1)), None);
    }
}
