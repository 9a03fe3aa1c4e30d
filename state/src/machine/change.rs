//! The leader's plans: small changes, each refused alone when its object has moved on.

use swarm_model::event::{Action, Subject};
use swarm_model::id::TaskId;
use swarm_model::meta::{Revision, Version};
use swarm_model::outcome::Done;
use swarm_model::plan::{Change as Decision, NewTask};
use swarm_model::service::Priority;
use swarm_model::task::{Eviction, Task, TaskStatus};
use swarm_model::task_state::{DesiredState, ObservedState};

use super::Change;
use crate::mistake::{Mistake, planted};

impl Change<'_> {
    pub(super) fn apply_plan(&mut self, base: Revision, changes: &[Decision]) -> Done {
        let (mut applied, mut refused) = (0, 0);
        for decision in changes {
            match self.decide(base, decision) {
                Some(()) => applied += 1,
                None => refused += 1,
            }
        }
        Done::Plan { applied, refused }
    }

    /// Makes one change; `None` when its object is not what the plan was made for.
    fn decide(&mut self, base: Revision, decision: &Decision) -> Option<()> {
        match decision {
            Decision::CreateTask(new) => self.create_task(base, new),
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
                let mut task = self.task_at(*task, *version)?;
                if *desired <= task.desired {
                    return None;
                }
                task.desired = *desired;
                if task.node.is_none() && *desired >= DesiredState::Shutdown {
                    // Nobody else will say that it ended.
                    task.status.state = ObservedState::Shutdown;
                    task.status.since = self.now;
                }
                self.put_task(task, Action::Update);
                Some(())
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
            Decision::Preempt { task, version, by } => self.preempt(base, *task, *version, *by),
        }
    }

    /// Ends a task to make room for `by`, which must still need it and be the more important one.
    fn preempt(
        &mut self,
        base: Revision,
        task: TaskId,
        version: Version,
        by: TaskId,
    ) -> Option<()> {
        let mut task = self.task_at(task, version)?;
        let waiting = self.view.tasks.get(&by).filter(|_| self.view.waiting.contains(&by))?;
        let priority = |task: &Task| {
            let service = self.view.services.get(&task.service);
            service.map_or(Priority::default(), |service| service.spec.priority)
        };
        // Two plans made from one view would end twice as many as needed.
        let moved_on = self
            .view
            .makers_of_room(by)
            .any(|other| other.meta.version > base.into() && other.meta.version != self.at.into());
        let lesser = priority(&task) < priority(waiting);
        if !task.is_active() || task.node.is_none() || !lesser || moved_on {
            return None;
        }
        task.desired = DesiredState::Shutdown;
        task.eviction = Some(Eviction::Preempted { by });
        self.put_task(task, Action::Update);
        Some(())
    }

    fn task_at(&self, id: TaskId, version: Version) -> Option<Task> {
        let task = self.view.tasks.get(&id)?;
        (task.meta.version == version || planted(Mistake::IgnoreVersion)).then(|| Task::clone(task))
    }

    fn create_task(&mut self, base: Revision, new: &NewTask) -> Option<()> {
        let service = self.view.services.get(&new.service)?;
        let stale = service.removing || service.template_version != new.template_version;
        let known = self.view.tasks.contains_key(&new.id);
        let lost = new.node.is_some_and(|node| !self.view.nodes.contains_key(&node));
        // Two plans made from one view, the first of which was given up too early, would fill the
        // slot twice.
        let moved_on = self
            .view
            .tasks_in(new.service, new.slot)
            .any(|task| task.meta.version > base.into() && task.meta.version != self.at.into());
        if stale || known || lost || moved_on && !planted(Mistake::FillSlotTwice) {
            return None;
        }
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
            template: service.template.clone(),
            desired: new.desired,
            status,
            not_before: new.not_before,
            restart: new.restart,
            eviction: None,
        };
        self.put_task(task, Action::Create);
        Some(())
    }
}

fn assigned(now: swarm_model::units::Timestamp) -> TaskStatus {
    TaskStatus::new(ObservedState::Assigned, now, "assigned to a node")
}
