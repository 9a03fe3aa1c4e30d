//! From an assignment to what a runtime starts: templates expanded, environment complete. Pure.

use std::collections::BTreeMap;

use swarm_model::assignment::Assignment;
use swarm_model::config::Data;
use swarm_model::id::{ConfigId, NodeId};
use swarm_model::runtime::RuntimeSpec;
use swarm_model::task::Slot;
use swarm_model::template::{self, Context};

use crate::logs::LogLimits;
use crate::runtime::{ConfigFile, Launch};

/// The contents of an assignment's configs.
pub(super) type Configs = BTreeMap<ConfigId, Data>;

/// What templates may speak of on this node.
fn context(assignment: &Assignment, node: NodeId, hostname: &str) -> Context {
    let slot = assignment.slot.to_string();
    Context {
        service_id: assignment.service.to_string(),
        service_name: assignment.service_name.clone(),
        service_labels: assignment.service_labels.clone(),
        task_id: assignment.task.to_string(),
        task_name: format!("{}.{slot}.{}", assignment.service_name, assignment.task),
        task_slot: slot,
        node_id: node.to_string(),
        node_hostname: hostname.to_owned(),
        node_labels: assignment.node_labels.clone(),
    }
}

/// What the runtime is asked to start.
///
/// # Errors
/// For a template that does not expand; the API refuses those, so this names a bug or an old spec.
pub(super) fn launch(
    assignment: &Assignment,
    configs: &Configs,
    node: NodeId,
    hostname: &str,
) -> Result<Launch, template::Error> {
    let RuntimeSpec::Process(process) = &assignment.template.runtime;
    let context = context(assignment, node, hostname);
    let expand = |text: &String| template::expand(text, &context);
    let mut env: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in &process.env {
        env.insert(name.clone(), expand(value)?);
    }
    for (name, value) in [
        ("SWARM_TASK_ID", &context.task_id),
        ("SWARM_SERVICE_NAME", &context.service_name),
        ("SWARM_TASK_SLOT", &context.task_slot),
        ("SWARM_NODE_ID", &context.node_id),
    ] {
        env.insert(name.to_owned(), value.clone());
    }
    let files = process.configs.iter().map(|reference| ConfigFile {
        path: reference.target.clone(),
        content: configs
            .get(&reference.config)
            .map(|data| bytes::Bytes::copy_from_slice(data.as_slice()))
            .unwrap_or_default(),
        mode: reference.mode,
        uid: reference.uid,
        gid: reference.gid,
    });
    Ok(Launch {
        task: assignment.task,
        service_name: assignment.service_name.clone(),
        slot: match assignment.slot {
            Slot::Replica(number) => u64::from(number),
            Slot::Node(_) => 0,
        },
        command: process.command.iter().map(expand).collect::<Result<_, _>>()?,
        env: env.into_iter().collect(),
        user: process.user.clone(),
        groups: process.groups.clone(),
        workdir: process.workdir.clone(),
        hostname: process.hostname.as_ref().map(expand).transpose()?,
        limits: assignment.template.resources.limits,
        configs: files.collect(),
        stop_signal: assignment.template.stop_signal,
        log: LogLimits::default(),
    })
}
