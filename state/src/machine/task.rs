//! What agents saw of their tasks. Observed states only move forward.

use swarm_model::command::{RELOCATIONS_MAX, REPORTS_MAX, Relocation, StatusReport};
use swarm_model::event::{Action, Subject};
use swarm_model::id::NodeId;
use swarm_model::outcome::{Done, Kind, Outcome, Rejection};
use swarm_model::service::SpecError;
use swarm_model::task::{Eviction, Slot, Task};
use swarm_model::task_state::ObservedState;

use super::{Change, DONE};
use crate::mistake::{Mistake, planted};

impl Change<'_> {
    pub(super) fn report_status(&mut self, node: NodeId, reports: &[StatusReport]) -> Outcome {
        let invalid = |error| Rejection::Invalid { kind: Kind::Task, error };
        if reports.len() > REPORTS_MAX {
            let reason = format!("{} are more than the {REPORTS_MAX} at once", reports.len());
            return Err(invalid(SpecError::new("Reports", reason)));
        }
        for report in reports {
            report.status.validate().map_err(invalid)?;
        }
        for report in reports {
            let Some(task) = self.view.tasks.get(&report.task) else { continue };
            let own = task.node == Some(node) || planted(Mistake::TrustForeignStatus);
            let newer =
                report.status.state >= task.status.state && !task.status.state.is_terminal();
            let news = (newer || planted(Mistake::StatusGoesBack)) && report.status != task.status;
            if own && news {
                let mut task = Task::clone(task);
                task.status = report.status.clone();
                if task.status.state == ObservedState::Running && task.update.is_some() {
                    task.ran_at = task.ran_at.or(Some(self.now));
                }
                let ended = task.status.state.is_terminal().then(|| task.clone());
                self.put_task(task, Action::Update);
                ended.into_iter().for_each(|task| self.count_end(&task));
            } else if task.status.state == ObservedState::Complete && planted(Mistake::CountTwice) {
                self.count_end(&Task::clone(task));
            }
        }
        DONE
    }

    /// Asks running tasks to be replaced elsewhere.
    pub(super) fn evict(&mut self, moves: &[Relocation]) -> Outcome {
        if moves.len() > RELOCATIONS_MAX {
            let reason = format!("{} are more than the {RELOCATIONS_MAX} at once", moves.len());
            let error = SpecError::new("Moves", reason);
            return Err(Rejection::Invalid { kind: Kind::Task, error });
        }
        let (mut applied, mut refused) = (0, 0);
        for relocation in moves {
            match self.relocate(*relocation) {
                Some(()) => applied += 1,
                None => refused += 1,
            }
        }
        Ok(Done::Plan { applied, refused })
    }

    fn relocate(&mut self, Relocation { task, version, to }: Relocation) -> Option<()> {
        let mut task = self.task_at(task, version)?;
        let runs = task.is_active() && task.status.state == ObservedState::Running;
        let replicated = match task.slot {
            Slot::Replica(_) => true,
            Slot::Node(_) | Slot::Job { .. } | Slot::JobNode { .. } => false,
        };
        let leads_on = task.node.is_some_and(|node| node != to);
        let known = self.view.nodes.contains_key(&to);
        if !(runs && replicated && leads_on && known) {
            return None;
        }
        task.eviction = Some(Eviction::Rebalanced { at: self.now, to });
        self.put_task(task, Action::Update);
        Some(())
    }

    /// Stores a task that changed and says so.
    pub(super) fn put_task(&mut self, mut task: Task, action: Action) {
        match action {
            Action::Create => {}
            Action::Update | Action::Remove => task.meta.touch(self.at, self.now),
        }
        self.emit_task(&task, action);
        self.view.put_task(task);
    }

    pub(super) fn emit_task(&mut self, task: &Task, action: Action) {
        let subject = Subject::Task { task: task.id, service: task.service, node: task.node };
        let name = self.task_name(task);
        let attributes = [
            ("state", task.status.state.to_string()),
            ("desired", task.desired.to_string()),
            ("node", task.node.map(|node| node.to_string()).unwrap_or_default()),
            ("error", task.status.error.clone()),
            ("preempted_by", task.eviction.map(preempted_by).unwrap_or_default()),
            ("moves_to", task.eviction.map(moves_to).unwrap_or_default()),
        ];
        self.emit(subject, action, &name, &attributes);
    }

    fn task_name(&self, task: &Task) -> String {
        let service = self.view.services.get(&task.service);
        let service = service.map_or("?", |service| service.spec.name.as_str());
        match task.slot {
            Slot::Replica(number) => format!("{service}.{number}"),
            Slot::Node(node) => format!("{service}.{}", node.short()),
            Slot::Job { .. } => format!("{service}.{}", task.slot),
            Slot::JobNode { run, node } => format!("{service}.run{run}.{}", node.short()),
        }
    }
}

fn preempted_by(eviction: Eviction) -> String {
    match eviction {
        Eviction::Preempted { by } => by.to_string(),
        Eviction::Rebalanced { .. } => String::new(),
    }
}

fn moves_to(eviction: Eviction) -> String {
    match eviction {
        Eviction::Preempted { .. } => String::new(),
        Eviction::Rebalanced { to, .. } => to.to_string(),
    }
}
