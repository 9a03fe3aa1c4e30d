//! Decisions of the leader as data: a list of small changes, each guarded by the version it was
//! decided on.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::id::{NodeId, ServiceId, TaskId};
use crate::job::RunPhase;
use crate::meta::Version;
use crate::restart::RestartRecord;
use crate::task::Slot;
use crate::task_state::DesiredState;
use crate::units::Timestamp;
use crate::update::UpdateStep;

/// A task to be created from the current template of its service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTask {
    /// Its id.
    pub id: TaskId,
    /// Its service.
    pub service: ServiceId,
    /// The template it was decided on; refused when the service has another one by now.
    pub template_version: Version,
    /// Its slot.
    pub slot: Slot,
    /// Where it goes; `None` waits for a node, for the reason in `pending`.
    pub node: Option<NodeId>,
    /// Why no node fits; empty when one does.
    pub pending: String,
    /// Ready when a restart delay runs, otherwise Running.
    pub desired: DesiredState,
    /// End of the restart delay.
    pub not_before: Option<Timestamp>,
    /// What it inherits.
    pub restart: RestartRecord,
    /// Whether it replaces a sound task: refused when anything of the service changed since this was
    /// decided.
    #[serde(default)]
    pub voluntary: bool,
}

/// One small decision. A change whose object has another version by now is refused, alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Creates a task. Refused when the service is gone, removing, or has another template.
    CreateTask(Box<NewTask>),
    /// Gives a waiting task its node.
    Assign {
        /// The task.
        task: TaskId,
        /// Its version when this was decided.
        version: Version,
        /// Its node.
        node: NodeId,
    },
    /// Says why a task waits.
    Explain {
        /// The task.
        task: TaskId,
        /// Its version when this was decided.
        version: Version,
        /// Why.
        reason: String,
    },
    /// Wants something else of a task.
    SetDesired {
        /// The task.
        task: TaskId,
        /// Its version when this was decided.
        version: Version,
        /// What is wanted now.
        desired: DesiredState,
    },
    /// Gives a task up whose node is lost: its observed state becomes Orphaned.
    Orphan {
        /// The task.
        task: TaskId,
        /// Its version when this was decided.
        version: Version,
        /// Why.
        reason: String,
    },
    /// Forgets an ended task.
    RemoveTask {
        /// The task.
        task: TaskId,
        /// Its version when this was decided.
        version: Version,
    },
    /// Deletes a removing service that has no tasks left.
    DeleteService {
        /// The service.
        service: ServiceId,
        /// Its version when this was decided.
        version: Version,
    },
    /// Ends a task, gracefully, to make room for one of higher priority.
    Preempt {
        /// The task.
        task: TaskId,
        /// Its version when this was decided.
        version: Version,
        /// For whom.
        by: TaskId,
    },
    /// Ends a sound task to make way for its replacement. Refused when anything of the service changed
    /// since this was decided: two plans made from one view must not both take their share.
    Yield {
        /// The task.
        task: TaskId,
        /// Its version when this was decided.
        version: Version,
    },
    /// Takes a service's update one step on.
    Update {
        /// The service.
        service: ServiceId,
        /// Its version when this was decided.
        version: Version,
        /// The step.
        step: UpdateStep,
    },
    /// Ends a run of a job. Refused when it has ended, or has not succeeded as is said.
    EndRun {
        /// The job.
        service: ServiceId,
        /// The run's number.
        run: u64,
        /// How.
        phase: RunPhase,
    },
    /// Decides on the times at which a job was due. Refused when any of them was decided on before.
    Fire {
        /// The job.
        service: ServiceId,
        /// How far its schedule was when this was decided.
        cursor_was: Timestamp,
        /// How far it is now.
        cursor: Timestamp,
        /// The times for which it runs, in order, if the rule for overlaps allows it.
        due: Vec<Timestamp>,
    },
}

/// What one reconcile decided.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// In order.
    pub changes: Vec<Change>,
    /// When to look again at which services though nothing happens: the earliest delay of each that ends.
    pub later: BTreeMap<ServiceId, Timestamp>,
    /// Services for which there was no room in this plan: the next round follows at once and has to
    /// look at them, besides what this plan touches.
    pub left: BTreeSet<ServiceId>,
}

impl Plan {
    /// When to look again at anything.
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.later.values().min().copied()
    }
}
