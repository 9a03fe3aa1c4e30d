//! The leader's plans: small changes, each refused alone when its object has moved on.

use std::collections::BTreeMap;

use swarm_model::event::{Action, Subject};
use swarm_model::id::{ServiceId, TaskId};
use swarm_model::meta::{Meta, Revision, Version};
use swarm_model::outcome::Done;
use swarm_model::plan::{Change as Decision, NewTask};
use swarm_model::service::Priority;
use swarm_model::task::{Eviction, Task, TaskStatus};
use swarm_model::task_state::{DesiredState, ObservedState};

use super::Change;
use super::seats::Busy;
use crate::mistake::{Mistake, planted};

impl Change<'_> {
    pub(super) fn apply_plan(&mut self, base: Revision, changes: &[Decision]) -> Done {
        let (mut applied, mut refused) = (0, 0);
        let mut restless = Restless { base, known: BTreeMap::new(), busy: Busy::default() };
        for decision in changes {
            match self.decide(&mut restless, decision) {
                Some(()) => applied += 1,
                None => refused += 1,
            }
        }
        Done::Plan { applied, refused }
    }

    /// Makes one change; `None` when its object is not what the plan was made for.
    fn decide(&mut self, restless: &mut Restless, decision: &Decision) -> Option<()> {
        match decision {
            Decision::CreateTask(new) if new.voluntary && self.moved_on(restless, new.service) => {
                None
            }
            Decision::CreateTask(new) => self.create_task(restless, new),
            Decision::Assign { task, version, node } => {
                let mut task = self.task_at(*task, *version)?;
                if task.node.is_some() || !self.view.nodes.contains_key(node) {
                    return None;
                }
                task.node = Some(*node);
                task.status = assigned(self.now);
                self.put_task(task, Action::Update);
                Some(())
            }
            Decision::Explain { task, version, reason } => {
                let mut task = self.task_at(*task, *version)?;
                reason.clone_into(&mut task.status.error);
                self.put_task(task, Action::Update);
                Some(())
            }
            Decision::SetDesired { task, version, desired } => {
                self.set_desired(self.task_at(*task, *version)?, *desired)
            }
            Decision::Orphan { task, version, reason } => {
                let mut task = self.task_at(*task, *version)?;
                if task.status.state.is_terminal() {
                    return None;
                }
                task.status.state = ObservedState::Orphaned;
                task.status.since = self.now;
                reason.clone_into(&mut task.status.error);
                task.desired = task.desired.max(DesiredState::Shutdown);
                self.put_task(task, Action::Update);
                Some(())
            }
            Decision::RemoveTask { task, version } => {
                let task = self.task_at(*task, *version)?;
                self.view.remove_task(task.id);
                self.emit_task(&task, Action::Remove);
                Some(())
            }
            Decision::DeleteService { service, version } => {
                let found = self.view.services.get(service)?;
                let gone = found.removing && self.view.tasks_of(*service).next().is_none();
                if found.meta.version != *version || !gone {
                    return None;
                }
                let name = found.spec.name.to_string();
                self.view.remove_service(*service);
                let more = [("deleted", "true".to_owned())];
                self.emit(Subject::Service(*service), Action::Remove, &name, &more);
                Some(())
            }
            Decision::Preempt { task, version, by } => self.preempt(restless, *task, *version, *by),
            Decision::Yield { task, version } => {
                let task = self.task_at(*task, *version)?;
                let refused = self.moved_on(restless, task.service);
                if refused { None } else { self.give_way(task) }
            }
            Decision::Update { service, version, step } => {
                self.step_update(*service, *version, step)
            }
            Decision::Fire { service, cursor_was, cursor, due } => {
                self.fire(*service, *cursor_was, *cursor, due)
            }
            Decision::EndRun { service, run, phase } => {
                self.end_run(restless.base, *service, *run, phase)
            }
        }
    }

    fn set_desired(&mut self, mut task: Task, desired: DesiredState) -> Option<()> {
        if desired <= task.desired {
            return None;
        }
        task.desired = desired;
        if task.node.is_none() && desired >= DesiredState::Shutdown {
            // Nobody else will say that it ended.
            task.status.state = ObservedState::Shutdown;
            task.status.since = self.now;
        }
        self.put_task(task, Action::Update);
        Some(())
    }

    /// Ends a task to make way for its replacement.
    fn give_way(&mut self, task: Task) -> Option<()> {
        if !task.is_active() {
            return None;
        }
        self.set_desired(task, DesiredState::Shutdown)?;
        if let Some(event) = self.events.last_mut() {
            event.attributes.insert("voluntary".to_owned(), "true".to_owned());
        }
        Some(())
    }

    /// Whether `service` or any task of it changed after the plan's base, by another entry. Two plans
    /// made from one view, the first of which was given up too early, would both take the update's
    /// share; and who pauses an update wants nothing more of it.
    fn moved_on(&self, restless: &mut Restless, service: ServiceId) -> bool {
        let base = restless.base;
        *restless.known.entry(service).or_insert_with(|| {
            let itself = self.view.services.get(&service);
            itself.is_some_and(|it| self.is_later(it.meta, base))
                || self.view.tasks_of(service).any(|task| self.is_later(task.meta, base))
        })
    }

    /// Whether what has `meta` changed after `base`, by another entry than this one.
    pub(super) fn is_later(&self, meta: Meta, base: Revision) -> bool {
        meta.version > base.into() && meta.version != self.at.into()
    }

    /// Ends a task to make room for `by`, which must still need it and be the more important one.
    fn preempt(
        &mut self,
        restless: &mut Restless,
        task: TaskId,
        version: Version,
        by: TaskId,
    ) -> Option<()> {
        let base = restless.base;
        let mut task = self.task_at(task, version)?;
        let waiting = self.view.tasks.get(&by).filter(|_| self.view.waiting.contains(&by))?;
        let priority = |task: &Task| {
            let service = self.view.services.get(&task.service);
            service.map_or(Priority::default(), |service| service.spec.priority)
        };
        // Two plans made from one view would end twice as many as needed.
        let moved_on = self.view.makers_of_room(by).any(|other| self.is_later(other.meta, base));
        let lesser = priority(&task) < priority(waiting);
        let bounded = self.view.services.get(&task.service);
        let bounded = bounded.is_some_and(|service| service.spec.min_available.is_some());
        let moved_on = moved_on || bounded && self.moved_on(restless, task.service);
        if !task.is_active() || task.node.is_none() || !lesser || moved_on {
            return None;
        }
        task.desired = DesiredState::Shutdown;
        task.eviction = Some(Eviction::Preempted { by });
        self.put_task(task, Action::Update);
        Some(())
    }

    pub(super) fn task_at(&self, id: TaskId, version: Version) -> Option<Task> {
        let task = self.view.tasks.get(&id)?;
        (task.meta.version == version || planted(Mistake::IgnoreVersion)).then(|| Task::clone(task))
    }

    fn create_task(&mut self, restless: &mut Restless, new: &NewTask) -> Option<()> {
        let base = restless.base;
        let service = self.view.services.get(&new.service)?;
        let current = service.template_version == new.template_version;
        let template = if current {
            service.template.clone()
        } else {
            let former = self.view.former(service);
            former.filter(|former| former.template_version == new.template_version)?.template
        };
        let known = self.view.tasks.contains_key(&new.id);
        let lost = new.node.is_some_and(|node| !self.view.nodes.contains_key(&node));
        // Two plans made from one view, the first of which was given up too early, would fill the
        // slot twice.
        let moved_on =
            self.view.tasks_in(new.service, new.slot).any(|task| self.is_later(task.meta, base));
        if service.removing || known || lost || moved_on && !planted(Mistake::FillSlotTwice) {
            return None;
        }
        let fits_mode = new.slot.run().is_some() == service.spec.mode.is_job();
        if !fits_mode || !self.run_takes(&mut restless.busy, new) {
            return None;
        }
        // What is made from the former template is no part of the update.
        let update = service.update.as_ref().filter(|_| current);
        let status = match new.node {
            Some(_) => assigned(self.now),
            None => TaskStatus {
                error: new.pending.clone(),
                ..TaskStatus::new(ObservedState::Pending, self.now, "waits for a node")
            },
        };
        let task = Task {
            id: new.id,
            meta: self.new_meta(),
            service: new.service,
            slot: new.slot,
            node: new.node,
            template_version: new.template_version,
            template,
            desired: new.desired,
            status,
            not_before: new.not_before,
            restart: new.restart,
            eviction: None,
            update: update.map(|update| update.id),
            ran_at: None,
        };
        self.put_task(task, Action::Create);
        Some(())
    }
}

/// Which services changed since a plan was decided: found out once a plan.
struct Restless {
    base: Revision,
    known: BTreeMap<ServiceId, bool>,
    busy: Busy,
}

fn assigned(now: swarm_model::units::Timestamp) -> TaskStatus {
    TaskStatus::new(ObservedState::Assigned, now, "assigned to a node")
}
