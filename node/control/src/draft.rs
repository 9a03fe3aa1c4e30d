//! The plan while it is written: bounded, and at most one change of each object, because a second
//! one would be refused for the version that the first one gave it.
//!
//! Checks no rules of its own beyond these two.

use std::collections::{BTreeMap, BTreeSet};

use swarm_model::id::{NodeId, ServiceId, TaskId};
use swarm_model::job::RunPhase;
use swarm_model::plan::{Change, NewTask, Plan};
use swarm_model::service::Service;
use swarm_model::task::Task;
use swarm_model::task_state::DesiredState;
use swarm_model::units::Timestamp;
use swarm_model::update::UpdateStep;

use crate::budget;
use crate::facts::Facts;
use crate::orchestrator::update;
use crate::scheduler::Fate;

/// The most changes of one plan; the rest follows in the next round.
pub const CHANGES_MAX: usize = 1000;

/// A plan being written.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    changes: Vec<Change>,
    touched: BTreeSet<TaskId>,
    /// Tasks that this plan asks to end.
    ending: BTreeSet<TaskId>,
    /// Tasks that this plan ends to make room.
    preempted: BTreeSet<TaskId>,
    /// Tasks that this plan gives up.
    orphaned: BTreeSet<TaskId>,
    /// Tasks that this plan forgets.
    removed: BTreeSet<TaskId>,
    later: BTreeMap<ServiceId, Timestamp>,
    left: BTreeSet<ServiceId>,
}

impl Draft {
    /// Whether nothing more fits.
    pub(crate) fn is_full(&self) -> bool {
        self.changes.len() >= CHANGES_MAX
    }

    /// How many changes more.
    pub(crate) fn changes_left(&self) -> usize {
        CHANGES_MAX.saturating_sub(self.changes.len())
    }

    /// Leaves `service` to the next round, which follows at once.
    pub(crate) fn leave(&mut self, service: ServiceId) {
        self.left.insert(service);
    }

    /// Asks to look at `service` again at `at`, should nothing happen before.
    pub(crate) fn wake(&mut self, service: ServiceId, at: Timestamp) {
        let first = self.later.entry(service).or_insert(at);
        *first = at.min(*first);
    }

    /// Wants `desired` of `task`; nothing when that or more is wanted already.
    pub(crate) fn desire(&mut self, task: &Task, desired: DesiredState) {
        if task.desired < desired {
            let change = Change::SetDesired { task: task.id, version: task.meta.version, desired };
            if self.change_task(task, change) && desired >= DesiredState::Shutdown {
                self.ending.insert(task.id);
            }
        }
    }

    /// Counts `task` as ended by this plan, which will stop it.
    pub(crate) fn expect_end(&mut self, task: &Task) {
        self.ending.insert(task.id);
    }

    /// Ends `task`: what never had a node leaves no history.
    pub(crate) fn stop(&mut self, task: &Task) {
        match task.node {
            Some(_) => self.desire(task, DesiredState::Shutdown),
            None => self.remove(task),
        }
    }

    /// Gives `task` its node.
    pub(crate) fn assign(&mut self, task: &Task, node: NodeId) {
        let change = Change::Assign { task: task.id, version: task.meta.version, node };
        let _once = self.change_task(task, change);
    }

    /// Says why `task` waits.
    pub(crate) fn explain(&mut self, task: &Task, reason: &str) {
        let (task_id, version) = (task.id, task.meta.version);
        let reason = reason.to_owned();
        let _once = self.change_task(task, Change::Explain { task: task_id, version, reason });
    }

    /// Ends `task`, gracefully, to make room for `by`.
    pub(crate) fn preempt(&mut self, task: &Task, by: TaskId) {
        let (task_id, version) = (task.id, task.meta.version);
        if self.change_task(task, Change::Preempt { task: task_id, version, by }) {
            self.ending.insert(task_id);
            self.preempted.insert(task_id);
        }
    }

    /// Whether this plan ends `task` to make room.
    pub(crate) fn preempts(&self, task: TaskId) -> bool {
        self.preempted.contains(&task)
    }

    /// Ends `task`, gracefully, so that its replacement can come.
    pub(crate) fn give_way(&mut self, task: &Task) {
        let change = Change::Yield { task: task.id, version: task.meta.version };
        if task.is_active() && self.change_task(task, change) {
            self.ending.insert(task.id);
        }
    }

    /// Takes the update of `service` a step on.
    pub(crate) fn step_update(&mut self, service: &Service, step: UpdateStep) {
        if self.is_full() {
            self.leave(service.id);
        } else {
            let (service, version) = (service.id, service.meta.version);
            self.changes.push(Change::Update { service, version, step });
        }
    }

    /// Decides on due times of `service`.
    pub(crate) fn fire(
        &mut self,
        service: &Service,
        cursor_was: Timestamp,
        cursor: Timestamp,
        due: Vec<Timestamp>,
    ) {
        if self.is_full() {
            self.leave(service.id);
        } else {
            self.changes.push(Change::Fire { service: service.id, cursor_was, cursor, due });
        }
    }

    /// Ends a run of `service`.
    pub(crate) fn end_run(&mut self, service: &Service, run: u64, phase: RunPhase) {
        if self.is_full() {
            self.leave(service.id);
        } else {
            self.changes.push(Change::EndRun { service: service.id, run, phase });
        }
    }

    /// Gives `task` up.
    pub(crate) fn orphan(&mut self, task: &Task, reason: &str) {
        let (task_id, version) = (task.id, task.meta.version);
        let reason = reason.to_owned();
        if self.change_task(task, Change::Orphan { task: task_id, version, reason }) {
            self.orphaned.insert(task_id);
        }
    }

    /// Whether `task` has ended, or does so by this plan.
    pub(crate) fn has_ended(&self, task: &Task) -> bool {
        task.status.state.is_terminal() || self.orphaned.contains(&task.id)
    }

    /// Forgets `task`.
    pub(crate) fn remove(&mut self, task: &Task) {
        let change = Change::RemoveTask { task: task.id, version: task.meta.version };
        if self.change_task(task, change) {
            self.removed.insert(task.id);
        }
    }

    /// Whether this plan forgets `task`.
    pub(crate) fn removes(&self, task: TaskId) -> bool {
        self.removed.contains(&task)
    }

    /// Creates a task.
    pub(crate) fn create(&mut self, task: NewTask) {
        if self.is_full() {
            self.leave(task.service);
        } else {
            self.changes.push(Change::CreateTask(Box::new(task)));
        }
    }

    /// Deletes a service without tasks.
    pub(crate) fn delete_service(&mut self, service: &Service) {
        if self.is_full() {
            self.leave(service.id);
        } else {
            let (service, version) = (service.id, service.meta.version);
            self.changes.push(Change::DeleteService { service, version });
        }
    }

    /// Ends `task`, gracefully, as far as the budget of `service` allows it beside `others`, which are
    /// to end as well; whether it does.
    pub(crate) fn give_way_within(
        &mut self,
        facts: Facts<'_>,
        service: &Service,
        task: &Task,
        others: &[&Task],
    ) -> bool {
        let among = |task: &Task| others.iter().any(|other| other.id == task.id);
        let ends = |task: &Task| self.ending.contains(&task.id) || among(task);
        let allowed = budget::allows(facts, service, task, &ends);
        match allowed {
            // Two plans from one view must not both take what may be lost.
            true if service.spec.min_available.is_some() || update::is_rolling(service) => {
                self.give_way(task);
            }
            true => self.stop(task),
            false => {}
        }
        allowed
    }

    /// Whether this plan changes `task` already.
    pub(crate) fn has_touched(&self, task: &Task) -> bool {
        self.touched.contains(&task.id)
    }

    /// What this plan does to `task` so far.
    pub(crate) fn fate(&self, task: &Task) -> Fate {
        match (self.has_touched(task), self.ending.contains(&task.id)) {
            (_, true) => Fate::Ending,
            (true, false) => Fate::Settled,
            (false, false) => Fate::Open,
        }
    }

    /// Whether that change is part of the plan.
    fn change_task(&mut self, task: &Task, change: Change) -> bool {
        if self.has_touched(task) {
            return false;
        }
        if self.is_full() {
            self.leave(task.service);
            return false;
        }
        self.touched.insert(task.id);
        self.changes.push(change);
        true
    }

    /// The plan.
    pub(crate) fn into_plan(self) -> Plan {
        Plan { changes: self.changes, later: self.later, left: self.left }
    }
}
