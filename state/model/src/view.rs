//! A view: everything the cluster knows at one revision. Cheap to clone, never changes.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::cluster::Cluster;
use crate::config::Config;
use crate::id::{ConfigId, NodeId, ServiceId, TaskId};
use crate::job::{Run, RunPhase};
use crate::meta::{Revision, Version};
use crate::name::Name;
use crate::node::Node;
use crate::resources::Resources;
use crate::service::Service;
use crate::task::{Slot, Task, TaskTemplate};
use crate::update::History;

/// What the tasks of one node take of it, until they have ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeUsage {
    /// What they reserve.
    pub reserved: Resources,
    /// How many they are.
    pub tasks: u32,
}

/// Everything the cluster knows at one revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// The revision.
    pub revision: Revision,
    /// `None` before the first command.
    pub cluster: Option<Arc<Cluster>>,
    /// By id.
    pub nodes: OrdMap<NodeId, Arc<Node>>,
    /// By id.
    pub services: OrdMap<ServiceId, Arc<Service>>,
    /// By id.
    pub tasks: OrdMap<TaskId, Arc<Task>>,
    /// By id.
    pub configs: OrdMap<ConfigId, Arc<Config>>,
    /// The specs that services had, from their first update on.
    pub histories: OrdMap<ServiceId, Arc<History>>,
    /// When a spec, a node or a config changed last; not kept (zero) before somebody asked for it, by
    /// the first command with `if_revision`.
    pub intent: Revision,
    /// The runs of jobs, by number.
    pub runs: OrdMap<(ServiceId, u64), Arc<Run>>,
    /// Ids that were members once and never will be again.
    pub removed_nodes: OrdSet<NodeId>,
    /// Index: services by name, without those being removed.
    pub service_names: OrdMap<Name, ServiceId>,
    /// Index: configs by name.
    pub config_names: OrdMap<Name, ConfigId>,
    /// Index: tasks of a service by slot.
    pub service_tasks: OrdSet<(ServiceId, Slot, TaskId)>,
    /// Index: tasks on a node that may still hold something there (see [`Task::holds_node`]), or
    /// that are not ended yet by plan.
    pub node_tasks: OrdSet<(NodeId, TaskId)>,
    /// Index: what is taken of each node that has tasks.
    pub usage: OrdMap<NodeId, NodeUsage>,
    /// Index: active tasks that have no node yet.
    pub waiting: OrdSet<TaskId>,
    /// Index: tasks that still make room for others, by whom it is for.
    pub making_room: OrdSet<(TaskId, TaskId)>,
}

impl View {
    /// The tasks of `service`, by slot.
    pub fn tasks_of(&self, service: ServiceId) -> impl Iterator<Item = &Arc<Task>> {
        let first = (service, Slot::Replica(0), TaskId::from_raw(0));
        self.service_tasks
            .range(first..)
            .take_while(move |(owner, _, _)| *owner == service)
            .filter_map(|(_, _, task)| self.tasks.get(task))
    }

    /// The template of that version, shared with the tasks that were made from it; else a copy of `same`.
    pub fn shared_template(
        &self,
        service: ServiceId,
        version: Version,
        same: &TaskTemplate,
    ) -> Arc<TaskTemplate> {
        let mut tasks = self.tasks_of(service);
        let shared = tasks.find(|task| task.template_version == version);
        shared.map_or_else(|| Arc::new(same.clone()), |task| task.template.clone())
    }

    /// `service` with the template from which tasks are made in slots that have no turn in its
    /// update yet; `None` when they are made from its own.
    pub fn former(&self, service: &Service) -> Option<Service> {
        let record = self.histories.get(&service.id)?.former(service)?;
        let template_version = record.template_version;
        let template = &record.spec.task_template;
        let template = self.shared_template(service.id, template_version, template);
        Some(Service { template, template_version, ..service.clone() })
    }

    /// The runs of `service` that are remembered, in order.
    pub fn runs_of(&self, service: ServiceId) -> impl DoubleEndedIterator<Item = &Arc<Run>> {
        self.runs.range((service, 0)..=(service, u64::MAX)).map(|(_, run)| run)
    }

    /// The newest run of `service`.
    pub fn newest_run(&self, service: ServiceId) -> Option<&Arc<Run>> {
        self.runs_of(service).next_back()
    }

    /// The run of `service` that matters now: the newest one that goes on, else the newest one that took
    /// place, else the newest.
    pub fn current_run(&self, service: ServiceId) -> Option<&Arc<Run>> {
        let took_place = |run: &&Arc<Run>| !matches!(run.phase, RunPhase::Skipped { .. });
        let newest = || self.runs_of(service).rev();
        newest()
            .find(|run| run.is_active())
            .or_else(|| newest().find(took_place))
            .or_else(|| newest().next())
    }

    /// The tasks of one slot of `service`.
    pub fn tasks_in(&self, service: ServiceId, slot: Slot) -> impl Iterator<Item = &Arc<Task>> {
        self.service_tasks
            .range((service, slot, TaskId::from_raw(0))..)
            .take_while(move |(owner, place, _)| *owner == service && *place == slot)
            .filter_map(|(_, _, task)| self.tasks.get(task))
    }

    /// The tasks on `node`, ended ones left out once nothing is wanted of them.
    pub fn tasks_on(&self, node: NodeId) -> impl Iterator<Item = &Arc<Task>> {
        self.node_tasks
            .range((node, TaskId::from_raw(0))..)
            .take_while(move |(owner, _)| *owner == node)
            .filter_map(|(_, task)| self.tasks.get(task))
    }

    /// The tasks that still make room for `waiting`.
    pub fn makers_of_room(&self, waiting: TaskId) -> impl Iterator<Item = &Arc<Task>> {
        self.making_room
            .range((waiting, TaskId::from_raw(0))..)
            .take_while(move |(by, _)| *by == waiting)
            .filter_map(|(_, task)| self.tasks.get(task))
    }

    /// The service of that name.
    pub fn service_named(&self, name: &Name) -> Option<&Arc<Service>> {
        self.service_names.get(name).and_then(|id| self.services.get(id))
    }

    /// The config of that name.
    pub fn config_named(&self, name: &Name) -> Option<&Arc<Config>> {
        self.config_names.get(name).and_then(|id| self.configs.get(id))
    }

    /// Stores a task and keeps the indexes in step.
    pub fn put_task(&mut self, task: Task) {
        if let Some(node) = task.node {
            if task.holds_node() || task.is_active() {
                self.node_tasks.insert((node, task.id));
            } else {
                self.node_tasks.remove(&(node, task.id));
            }
        }
        self.service_tasks.insert((task.service, task.slot, task.id));
        let task = Arc::new(task);
        let before = self.tasks.insert(task.id, Arc::clone(&task));
        self.count(before.as_deref(), Some(&task));
    }

    /// Keeps what is counted of tasks in step with one that changes.
    fn count(&mut self, before: Option<&Task>, after: Option<&Task>) {
        let held =
            |task: Option<&Task>| task.filter(|task| task.holds_node()).and_then(|task| task.node);
        let (was, is) = (held(before), held(after));
        // A task's node and template never change once it has them.
        if was != is {
            if let (Some(node), Some(task)) = (was, before) {
                let usage = self.usage.entry(node).or_default();
                usage.reserved.subtract(&task.template.resources.reservations);
                usage.tasks = usage.tasks.saturating_sub(1);
                if usage.tasks == 0 {
                    self.usage.remove(&node);
                }
            }
            if let (Some(node), Some(task)) = (is, after) {
                let usage = self.usage.entry(node).or_default();
                usage.reserved.add(&task.template.resources.reservations);
                usage.tasks += 1;
            }
        }
        let waits = |task: Option<&Task>| {
            task.filter(|task| task.node.is_none() && task.is_active()).map(|task| task.id)
        };
        match (waits(before), waits(after)) {
            (None, Some(task)) => drop(self.waiting.insert(task)),
            (Some(task), None) => drop(self.waiting.remove(&task)),
            (Some(_), Some(_)) | (None, None) => {}
        }
        let room =
            |task: Option<&Task>| task.and_then(|task| Some((task.makes_room_for()?, task.id)));
        match (room(before), room(after)) {
            (None, Some(pair)) => drop(self.making_room.insert(pair)),
            (Some(pair), None) => drop(self.making_room.remove(&pair)),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    /// Forgets a task and keeps the indexes in step.
    pub fn remove_task(&mut self, id: TaskId) -> Option<Arc<Task>> {
        let task = self.tasks.remove(&id)?;
        self.service_tasks.remove(&(task.service, task.slot, id));
        if let Some(node) = task.node {
            self.node_tasks.remove(&(node, id));
        }
        self.count(Some(&task), None);
        Some(task)
    }

    /// Stores a service and keeps the indexes in step. Its name never changes; a service that is
    /// being removed gives it free at once.
    pub fn put_service(&mut self, service: Service) {
        if service.removing {
            self.free_name(&service);
        } else {
            self.service_names.insert(service.spec.name.clone(), service.id);
        }
        self.services.insert(service.id, Arc::new(service));
    }

    /// Forgets a service and keeps the indexes in step.
    pub fn remove_service(&mut self, id: ServiceId) -> Option<Arc<Service>> {
        let service = self.services.remove(&id)?;
        self.histories.remove(&id);
        let runs: Vec<_> = self.runs_of(id).map(|run| run.number).collect();
        runs.into_iter().for_each(|run| drop(self.runs.remove(&(id, run))));
        self.free_name(&service);
        Some(service)
    }

    fn free_name(&mut self, service: &Service) {
        if self.service_names.get(&service.spec.name) == Some(&service.id) {
            self.service_names.remove(&service.spec.name);
        }
    }

    /// Stores a config and keeps the indexes in step. Its name never changes.
    pub fn put_config(&mut self, config: Config) {
        self.config_names.insert(config.spec.name.clone(), config.id);
        self.configs.insert(config.id, Arc::new(config));
    }

    /// Forgets a config and keeps the indexes in step.
    pub fn remove_config(&mut self, id: ConfigId) -> Option<Arc<Config>> {
        let config = self.configs.remove(&id)?;
        self.config_names.remove(&config.spec.name);
        Some(config)
    }
}
