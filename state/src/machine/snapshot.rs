//! The whole state as bytes, and back.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

use swarm_model::cluster::Cluster;
use swarm_model::config::Config;
use swarm_model::id::{NodeId, ServiceId, TaskId};
use swarm_model::job::Run;
use swarm_model::meta::{Meta, Revision, Version};
use swarm_model::node::Node;
use swarm_model::restart::RestartRecord;
use swarm_model::service::Service;
use swarm_model::task::{Eviction, Slot, Task, TaskStatus, TaskTemplate};
use swarm_model::task_state::DesiredState;
use swarm_model::units::Timestamp;
use swarm_model::update::History;
use swarm_model::view::View;

use super::Machine;
use super::requests::{self, Requests};
use crate::codec::{self, CodecError};
use crate::mistake::{Mistake, planted};

/// Why a snapshot could not be read. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The bytes are not a snapshot.
    #[error("snapshot cannot be read")]
    Codec(#[from] CodecError),
    /// A task names a template that is not in the snapshot.
    #[error("snapshot is inconsistent: task {0} has no template")]
    NoTemplate(TaskId),
}

/// The stored form. Templates stand once, whatever the number of tasks made from them.
#[derive(Serialize, Deserialize)]
struct Stored {
    revision: Revision,
    cluster: Option<Cluster>,
    nodes: Vec<Arc<Node>>,
    removed_nodes: Vec<NodeId>,
    services: Vec<Arc<Service>>,
    configs: Vec<Arc<Config>>,
    templates: Vec<((ServiceId, Version), Arc<TaskTemplate>)>,
    tasks: Vec<StoredTask>,
    requests: Vec<requests::Entry>,
    #[serde(default)]
    histories: Vec<(ServiceId, Arc<History>)>,
    #[serde(default)]
    intent: Revision,
    #[serde(default)]
    runs: Vec<Arc<Run>>,
}

#[derive(Serialize, Deserialize)]
struct StoredTask {
    id: TaskId,
    meta: Meta,
    service: ServiceId,
    slot: Slot,
    node: Option<NodeId>,
    template_version: Version,
    desired: DesiredState,
    status: TaskStatus,
    not_before: Option<Timestamp>,
    restart: RestartRecord,
    #[serde(default)]
    eviction: Option<Eviction>,
    #[serde(default)]
    update: Option<Revision>,
    #[serde(default)]
    ran_at: Option<Timestamp>,
}

impl From<&Task> for StoredTask {
    fn from(task: &Task) -> Self {
        Self {
            id: task.id,
            meta: task.meta,
            service: task.service,
            slot: task.slot,
            node: task.node,
            template_version: task.template_version,
            desired: task.desired,
            status: task.status.clone(),
            not_before: task.not_before,
            restart: task.restart,
            eviction: task.eviction,
            update: task.update,
            ran_at: task.ran_at,
        }
    }
}

impl StoredTask {
    fn with_template(self, template: Arc<TaskTemplate>) -> Task {
        Task {
            id: self.id,
            meta: self.meta,
            service: self.service,
            slot: self.slot,
            node: self.node,
            template_version: self.template_version,
            template,
            desired: self.desired,
            status: self.status,
            not_before: self.not_before,
            restart: self.restart,
            eviction: self.eviction,
            update: self.update,
            ran_at: self.ran_at,
        }
    }
}

impl Machine {
    /// The whole state as bytes. Equal states give equal bytes.
    ///
    /// # Errors
    /// When the state is larger than a snapshot may be.
    pub fn snapshot(&self) -> Result<Vec<u8>, CodecError> {
        let view = &self.view;
        let templates: BTreeMap<_, _> = view
            .tasks
            .values()
            .map(|task| ((task.service, task.template_version), task.template.clone()))
            .collect();
        let stored = Stored {
            revision: view.revision,
            cluster: view.cluster.as_deref().cloned(),
            nodes: view.nodes.values().cloned().collect(),
            removed_nodes: view.removed_nodes.iter().copied().collect(),
            services: view.services.values().cloned().collect(),
            configs: view.configs.values().cloned().collect(),
            templates: templates.into_iter().collect(),
            tasks: view.tasks.values().map(|task| StoredTask::from(&**task)).collect(),
            requests: if planted(Mistake::ForgetRequests) {
                Vec::new()
            } else {
                self.requests.entries()
            },
            histories: view.histories.iter().map(|(id, kept)| (*id, kept.clone())).collect(),
            intent: view.intent,
            runs: view.runs.values().cloned().collect(),
        };
        // They stand at its end, after all else was written for nothing.
        let is_new = !stored.histories.is_empty() || stored.intent != Revision(0);
        codec::encode_snapshot(&stored, is_new || !stored.runs.is_empty())
    }

    /// The state that [`Machine::snapshot`] gave.
    ///
    /// # Errors
    /// When the bytes are no whole snapshot of a known format.
    pub fn restore(bytes: &[u8]) -> Result<Self, RestoreError> {
        Self::from_stored(codec::decode_snapshot(bytes)?)
    }

    fn from_stored(stored: Stored) -> Result<Self, RestoreError> {
        let mut templates: BTreeMap<_, _> = stored.templates.into_iter().collect();
        let mut view = View {
            revision: stored.revision,
            cluster: stored.cluster.map(Arc::new),
            nodes: stored.nodes.into_iter().map(|node| (node.id, node)).collect(),
            removed_nodes: stored.removed_nodes.into_iter().collect(),
            histories: stored.histories.into_iter().collect(),
            intent: stored.intent,
            runs: stored.runs.into_iter().map(|run| ((run.service, run.number), run)).collect(),
            ..View::default()
        };
        for service in stored.services {
            // Tasks of the current template share it with their service again.
            templates
                .entry((service.id, service.template_version))
                .and_modify(|template| *template = service.template.clone());
            view.put_service(Arc::unwrap_or_clone(service));
        }
        for config in stored.configs {
            view.put_config(Arc::unwrap_or_clone(config));
        }
        for task in stored.tasks {
            let template = templates.get(&(task.service, task.template_version));
            let template = template.ok_or(RestoreError::NoTemplate(task.id))?.clone();
            view.put_task(task.with_template(template));
        }
        Ok(Self { view, requests: Requests::from_entries(stored.requests) })
    }
}
