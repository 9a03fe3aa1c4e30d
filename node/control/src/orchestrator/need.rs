//! What an orchestrator needs the scheduler to place.
//!
//! Data and its last step into a `NewTask`; places nothing.

use std::rc::Rc;

use swarm_model::id::{IdSource, NodeId, TaskId};
use swarm_model::plan::NewTask;
use swarm_model::restart::RestartRecord;
use swarm_model::service::Service;
use swarm_model::task::{Slot, Task};
use swarm_model::task_state::DesiredState;
use swarm_model::units::Timestamp;
use swarm_model::update::Order;

use super::update;
use crate::enforcer::Stance;
use crate::scheduler::{Scheduler, Wish};

/// All that is to be placed in one round.
#[derive(Debug, Default)]
pub(crate) struct Needs<'a> {
    /// Tasks without a node.
    pub(crate) waiting: Vec<(&'a Task, Need<'a>)>,
    /// Tasks that do not exist yet.
    pub(crate) new: Vec<(Seed, Need<'a>)>,
}

/// A place for one task.
#[derive(Debug)]
pub(crate) struct Need<'a> {
    /// For a task of this service,
    pub(crate) service: &'a Service,
    /// in this slot,
    pub(crate) slot: Slot,
    /// preferably there.
    pub(crate) wish: Wish,
    /// The task that serves the slot meanwhile.
    pub(crate) old: Option<Old<'a>>,
    /// Ended tasks that the new one replaces.
    pub(crate) replaced: Vec<&'a Task>,
    /// Whether it can be put off while another task of the service starts.
    pub(crate) voluntary: bool,
    /// Whether it has its turn in an update, which bounds how many start at a time.
    pub(crate) seated: bool,
}

/// A task that serves until its replacement runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Old<'a> {
    /// The task.
    pub(crate) task: &'a Task,
    /// Why it is replaced.
    pub(crate) stance: Stance,
}

impl Old<'_> {
    /// Whether it ends now that its replacement found no place. An outdated task makes room when
    /// the new one then fits in its place (stop-first); a forbidden one has to go; a drained one
    /// serves on until its deadline, because its end would free nothing the new one could use.
    pub(crate) fn yields(&self, service: &Service, scheduler: &Scheduler<'_>) -> bool {
        match self.stance {
            Stance::Forbidden => true,
            Stance::Outdated => {
                let may = update::order(service) != Some(Order::StartFirst)
                    && !update::is_paused(service);
                may && scheduler.fits_in_place(service, self.task)
            }
            Stance::Drained { .. }
            | Stance::Evicted { .. }
            | Stance::Good
            | Stance::Lost
            | Stance::Held => false,
        }
    }

    /// Where it was asked to move, if it was: nowhere else will do.
    pub(crate) fn moves_to(&self) -> Option<NodeId> {
        match self.stance {
            Stance::Evicted { to } => Some(to),
            Stance::Forbidden
            | Stance::Outdated
            | Stance::Drained { .. }
            | Stance::Good
            | Stance::Lost
            | Stance::Held => None,
        }
    }
}

/// What a new task starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Seed {
    /// What it knows of its predecessors.
    pub(crate) record: RestartRecord,
    /// The end of its restart delay.
    pub(crate) not_before: Option<Timestamp>,
    /// A node that just refused its predecessor.
    pub(crate) avoid: Option<NodeId>,
}

impl Seed {
    /// The task, placed or waiting.
    pub(crate) fn into_task(
        self,
        need: &Need<'_>,
        placed: Result<&NodeId, &Rc<str>>,
        now: Timestamp,
        ids: &mut dyn IdSource,
    ) -> NewTask {
        let Need { service, slot, .. } = *need;
        let not_before = self.not_before.filter(|until| *until > now);
        NewTask {
            id: TaskId::draw(ids),
            service: service.id,
            template_version: service.template_version,
            slot,
            node: placed.ok().copied(),
            pending: placed.err().map(ToString::to_string).unwrap_or_default(),
            desired: match not_before {
                Some(_) => DesiredState::Ready,
                None => DesiredState::Running,
            },
            not_before,
            restart: self.record,
            voluntary: need.seated,
        }
    }
}
