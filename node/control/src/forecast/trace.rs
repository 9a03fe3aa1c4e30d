//! What a forecast remembers of its course: for each task that was touched, when it came, got its place
//! and was asked to end.
//!
//! Draws no conclusions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use swarm_model::command::Op;
use swarm_model::id::{ServiceId, TaskId};
use swarm_model::task::Task;
use swarm_model::units::Timestamp;
use swarm_model::view::View;

/// A moment of a forecast: the time, and the round, of which there are several at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    pub(super) at: Timestamp,
    pub(super) round: u32,
}

/// One task.
#[derive(Debug)]
pub(super) struct Course {
    /// As it was last.
    pub(super) task: Arc<Task>,
    /// When it was made, if it was not there before.
    pub(super) born: Option<Moment>,
    /// When it got its node, if it had none before.
    pub(super) placed: Option<Moment>,
    /// When it was first seen ended, or asked to end, if it was active before.
    pub(super) ended: Option<Moment>,
}

/// The whole of it.
#[derive(Debug)]
pub(super) struct Trace {
    /// Everything before the change.
    pub(super) before: View,
    /// The same right after it.
    pub(super) asked: View,
    /// When the change was made.
    pub(super) began: Timestamp,
    /// How many rounds there were.
    pub(super) rounds: u32,
    /// The services that the change names.
    pub(super) subjects: BTreeSet<ServiceId>,
    /// The tasks that were touched.
    pub(super) courses: BTreeMap<TaskId, Course>,
}

impl Trace {
    pub(super) fn new(before: View, began: Timestamp) -> Self {
        let (subjects, courses) = (BTreeSet::new(), BTreeMap::new());
        Self { asked: before.clone(), before, began, rounds: 0, subjects, courses }
    }

    /// Notes which service `op` is about.
    pub(super) fn note_subject(&mut self, op: &Op) {
        match op {
            Op::CreateService { id, .. }
            | Op::UpdateService { id, .. }
            | Op::RemoveService { id }
            | Op::RollbackService { id, .. }
            | Op::PauseUpdate { id, .. }
            | Op::StartRun { id }
            | Op::StopRun { id, .. }
            | Op::PromoteUpdate { id } => {
                self.subjects.insert(*id);
            }
            Op::InitCluster { .. }
            | Op::UpdateCluster { .. }
            | Op::RotateToken { .. }
            | Op::CreateToken { .. }
            | Op::AddNode(_)
            | Op::UpdateNode { .. }
            | Op::DescribeNode { .. }
            | Op::SetReachability { .. }
            | Op::RemoveNode { .. }
            | Op::CreateConfig { .. }
            | Op::UpdateConfig { .. }
            | Op::RemoveConfig { .. }
            | Op::ReportStatus { .. }
            | Op::Evict { .. }
            | Op::ApplyPlan { .. } => {}
        }
    }

    /// Whether `task` is of a job's run that was not there before the change.
    pub(super) fn begins_run(&self, task: &Task) -> bool {
        let run = task.slot.run();
        run.is_some_and(|run| !self.before.runs.contains_key(&(task.service, run)))
    }

    /// Notes how task `id` is after something was done to it; `None` when it was forgotten.
    pub(super) fn note(&mut self, id: TaskId, task: Option<&Arc<Task>>, at: Timestamp) {
        let now = Moment { at, round: self.rounds };
        let before = self.before.tasks.get(&id);
        let Some(task) = task else {
            let course = self.courses.get_mut(&id).filter(|course| course.task.is_active());
            course.into_iter().for_each(|course| course.ended = Some(now));
            return;
        };
        let course = self.courses.entry(id).or_insert_with(|| Course {
            task: task.clone(),
            born: before.is_none().then_some(now),
            placed: None,
            ended: None,
        });
        let had_node = before.is_some_and(|before| before.node.is_some());
        if task.node.is_some() && !had_node {
            course.placed.get_or_insert(now);
        }
        if !task.is_active() && before.is_none_or(|before| before.is_active()) {
            course.ended.get_or_insert(now);
        }
        course.task = task.clone();
    }
}
