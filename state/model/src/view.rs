//! A view: everything the cluster knows at one revision. Cheap to clone, never changes.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::cluster::Cluster;
use crate::config::Config;
use crate::id::{ConfigId, NodeId, ServiceId, TaskId};
use crate::meta::Revision;
use crate::name::Name;
use crate::node::Node;
use crate::service::Service;
use crate::task::{Slot, Task};

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
        self.tasks.insert(task.id, Arc::new(task));
    }

    /// Forgets a task and keeps the indexes in step.
    pub fn remove_task(&mut self, id: TaskId) -> Option<Arc<Task>> {
        let task = self.tasks.remove(&id)?;
        self.service_tasks.remove(&(task.service, task.slot, id));
        if let Some(node) = task.node {
            self.node_tasks.remove(&(node, id));
        }
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
