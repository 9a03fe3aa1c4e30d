//! One node's share of a view, and how it differs from the share before. Pure.

use std::collections::BTreeMap;

use swarm_model::assignment::{Assignment, AssignmentMessage, Generation};
use swarm_model::id::{NodeId, TaskId};
use swarm_model::meta::Term;
use swarm_model::runtime::RuntimeSpec;
use swarm_model::task::Task;
use swarm_model::view::View;

/// Bytes of assignments in one message, roughly: well below the frame limit.
const MESSAGE_BYTES: usize = 1 << 20;
/// What an assignment weighs without its texts.
const BASE_BYTES: usize = 512;

/// What one node was told last, so that only differences are sent.
#[derive(Debug)]
pub struct AssignmentSet {
    node: NodeId,
    sent: BTreeMap<TaskId, Assignment>,
    generation: Generation,
}

impl AssignmentSet {
    /// Nothing was told yet; messages are numbered within `term`.
    pub fn new(node: NodeId, term: Term) -> Self {
        Self { node, sent: BTreeMap::new(), generation: Generation { term, sequence: 0 } }
    }

    fn next_generation(&mut self) -> Generation {
        self.generation.sequence += 1;
        self.generation
    }

    /// The first messages of a session: everything the node has to do.
    pub fn full(&mut self, view: &View) -> Vec<AssignmentMessage> {
        self.sent.clear();
        let tasks = assigned(view, self.node).into_keys().collect();
        let mut messages =
            vec![AssignmentMessage::Full { generation: self.next_generation(), tasks }];
        messages.extend(self.difference(view));
        messages
    }

    /// What changed since the last message; empty when nothing did.
    pub fn difference(&mut self, view: &View) -> Vec<AssignmentMessage> {
        let now = assigned(view, self.node);
        let removed: Vec<_> =
            self.sent.keys().filter(|id| !now.contains_key(id)).copied().collect();
        let changed: Vec<_> = now
            .iter()
            .filter(|(id, new)| self.sent.get(id).is_none_or(|old| old != *new))
            .map(|(_, new)| new.clone())
            .collect();
        self.sent = now;
        self.messages(changed, removed)
    }

    fn messages(
        &mut self,
        changed: Vec<Assignment>,
        removed: Vec<TaskId>,
    ) -> Vec<AssignmentMessage> {
        let mut parts: Vec<Vec<Assignment>> = Vec::new();
        let mut room = 0;
        for assignment in changed {
            let weight = weight(&assignment);
            match parts.last_mut() {
                Some(part) if weight <= room => part.push(assignment),
                _ => {
                    parts.push(vec![assignment]);
                    room = MESSAGE_BYTES;
                }
            }
            room = room.saturating_sub(weight);
        }
        if parts.is_empty() && !removed.is_empty() {
            parts.push(Vec::new());
        }
        let mut removed = Some(removed);
        parts
            .into_iter()
            .map(|changed| AssignmentMessage::Delta {
                generation: self.next_generation(),
                changed,
                removed: removed.take().unwrap_or_default(),
            })
            .collect()
    }
}

fn weight(assignment: &Assignment) -> usize {
    let RuntimeSpec::Process(process) = &assignment.template.runtime;
    let pairs = process
        .env
        .iter()
        .chain(&assignment.service_labels)
        .chain(&assignment.node_labels)
        .map(|(key, value)| key.len() + value.len());
    BASE_BYTES + process.command.iter().map(String::len).sum::<usize>() + pairs.sum::<usize>()
}

fn assigned(view: &View, node: NodeId) -> BTreeMap<TaskId, Assignment> {
    view.tasks_on(node)
        .filter_map(|task| assignment(view, node, task).map(|made| (task.id, made)))
        .collect()
}

fn assignment(view: &View, node: NodeId, task: &Task) -> Option<Assignment> {
    if task.status.state.is_terminal() {
        return None;
    }
    let service = view.services.get(&task.service);
    let RuntimeSpec::Process(process) = &task.template.runtime;
    let configs = process
        .configs
        .iter()
        .filter_map(|reference| view.configs.get(&reference.config))
        .map(|config| (config.id, config.meta.version))
        .collect();
    Some(Assignment {
        task: task.id,
        service: task.service,
        service_name: service.map(|s| s.spec.name.to_string()).unwrap_or_default(),
        service_labels: service.map(|s| s.spec.labels.clone()).unwrap_or_default(),
        slot: task.slot,
        template: task.template.clone(),
        desired: task.desired,
        node_labels: view.nodes.get(&node).map(|n| n.spec.labels.clone()).unwrap_or_default(),
        configs,
    })
}

/// Views for tests.
#[cfg(test)]
pub(crate) mod testing {
    use std::sync::Arc;

    use swarm_model::id::{NodeId, ServiceId, TaskId};
    use swarm_model::meta::{Meta, Version};
    use swarm_model::restart::RestartRecord;
    use swarm_model::runtime::{ProcessSpec, RuntimeSpec, Signal};
    use swarm_model::task::{Slot, Task, TaskStatus, TaskTemplate};
    use swarm_model::task_state::{DesiredState, ObservedState};
    use swarm_model::units::Timestamp;

    /// Whose tasks they are.
    pub(crate) const NODE: NodeId = NodeId::from_raw(1);

    /// One that is to run `command`.
    pub(crate) fn task(id: u128, command: &str) -> Task {
        let process = ProcessSpec { command: vec![command.to_owned()], ..Default::default() };
        Task {
            id: TaskId::from_raw(id),
            meta: Meta::default(),
            service: ServiceId::from_raw(9),
            slot: Slot::Replica(1),
            node: Some(NODE),
            template_version: Version(1),
            template: Arc::new(TaskTemplate {
                runtime: RuntimeSpec::Process(process),
                resources: Default::default(),
                restart_policy: Default::default(),
                placement: Default::default(),
                stop_signal: Signal::TERM,
                stop_grace_ms: 1,
                force_update: 0,
                health: None,
                ready: None,
                drain_delay_ms: 0,
            }),
            desired: DesiredState::Running,
            status: TaskStatus::new(ObservedState::Assigned, Timestamp::default(), ""),
            not_before: None,
            restart: RestartRecord::default(),
            eviction: None,
            update: None,
            ran_at: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{NODE, task};
    use super::*;
    use swarm_model::task_state::{DesiredState, ObservedState};

    fn named(messages: &[AssignmentMessage]) -> (Vec<u128>, Vec<u128>) {
        let (mut changed, mut removed) = (Vec::new(), Vec::new());
        for message in messages {
            if let AssignmentMessage::Delta { changed: c, removed: r, .. } = message {
                changed.extend(c.iter().map(|a| a.task.raw()));
                removed.extend(r.iter().map(|id| id.raw()));
            }
        }
        (changed, removed)
    }

    #[test]
    fn only_differences_follow_the_first_message() {
        let mut view = View::default();
        view.put_task(task(1, "a"));
        view.put_task(task(2, "a"));
        let mut set = AssignmentSet::new(NODE, Term(3));
        assert_eq!(named(&set.full(&view)), (vec![1, 2], vec![]));
        assert!(set.difference(&view).is_empty());
        let mut stopping = task(2, "a");
        stopping.desired = DesiredState::Shutdown;
        view.put_task(stopping);
        view.remove_task(TaskId::from_raw(1));
        assert_eq!(named(&set.difference(&view)), (vec![2], vec![1]));
    }

    #[test]
    fn ended_tasks_leave_the_set() {
        let mut view = View::default();
        view.put_task(task(1, "a"));
        let mut set = AssignmentSet::new(NODE, Term(3));
        set.full(&view);
        let mut ended = task(1, "a");
        ended.status.state = ObservedState::Failed;
        view.put_task(ended);
        assert_eq!(named(&set.difference(&view)), (vec![], vec![1]));
    }

    #[test]
    fn large_sets_are_cut_into_messages_numbered_without_gap() {
        let mut view = View::default();
        for id in 0..10 {
            view.put_task(task(id, &"x".repeat(300_000)));
        }
        let messages = AssignmentSet::new(NODE, Term(3)).full(&view);
        assert_eq!(messages.len(), 1 + 4, "three of 300 kB fit into one");
        for (index, message) in messages.iter().enumerate() {
            assert_eq!(message.generation().sequence, index as u64 + 1);
        }
        assert_eq!(named(&messages).0.len(), 10);
    }
}
