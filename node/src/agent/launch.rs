//! From an assignment to what a runtime starts: templates expanded, environment complete. Pure.

use std::collections::BTreeMap;

use swarm_model::assignment::Assignment;
use swarm_model::config::Data;
use swarm_model::id::{ConfigId, NodeId};
use swarm_model::probe::{Check, Probe};
use swarm_model::runtime::RuntimeSpec;
use swarm_model::task::Slot;
use swarm_model::template::{self, Context};

use super::devices;
use super::probe::Probes;
use super::record::Record;
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
        task_slot: match assignment.slot {
            Slot::Job { index, .. } => index.to_string(),
            Slot::JobNode { node, .. } => node.to_string(),
            Slot::Replica(_) | Slot::Node(_) => slot,
        },
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
    record: &Record,
    node: NodeId,
    hostname: &str,
) -> Result<Launch, template::Error> {
    let Record { assignment, configs, devices, .. } = record;
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
    if let Some(run) = assignment.slot.run() {
        env.insert("SWARM_TASK_RUN".to_owned(), run.to_string());
    }
    env.extend(devices::variables(devices));
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
        slot: u64::from(assignment.slot.number()),
        command: process.command.iter().map(expand).collect::<Result<_, _>>()?,
        env: env.into_iter().collect(),
        user: process.user.clone(),
        groups: process.groups.clone(),
        workdir: process.workdir.clone(),
        hostname: process.hostname.as_ref().map(expand).transpose()?,
        namespaces: process.namespaces.clone(),
        limits: assignment.template.resources.limits,
        configs: files.collect(),
        stop_signal: assignment.template.stop_signal,
        log: LogLimits::default(),
    })
}

/// What the task is asked while it runs.
///
/// # Errors
/// As of [`launch`].
pub(super) fn probes(
    assignment: &Assignment,
    node: NodeId,
    hostname: &str,
) -> Result<Probes, template::Error> {
    let context = context(assignment, node, hostname);
    let expand = |probe: &Option<Probe>| {
        let mut probe = probe.clone();
        if let Some(Probe { check: Check::Command(words), .. }) = &mut probe {
            for word in words {
                *word = template::expand(word, &context)?;
            }
        }
        Ok(probe)
    };
    let template = &assignment.template;
    Ok(Probes { health: expand(&template.health)?, ready: expand(&template.ready)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offers::Devices;
    use std::sync::Arc;

    use swarm_model::id::{ServiceId, TaskId};
    use swarm_model::runtime::{ConfigReference, ProcessSpec, Signal};
    use swarm_model::task::TaskTemplate;
    use swarm_model::task_state::DesiredState;

    fn assignment(process: ProcessSpec) -> Assignment {
        Assignment {
            task: TaskId::from_raw(1),
            service: ServiceId::from_raw(2),
            service_name: "web".to_owned(),
            service_labels: BTreeMap::new(),
            slot: Slot::Replica(3),
            template: Arc::new(TaskTemplate {
                runtime: RuntimeSpec::Process(process),
                resources: Default::default(),
                restart_policy: Default::default(),
                placement: Default::default(),
                stop_signal: Signal::TERM,
                stop_grace_ms: 100,
                force_update: 0,
                health: None,
                ready: None,
                drain_delay_ms: 0,
            }),
            desired: DesiredState::Running,
            node_labels: BTreeMap::from([("zone".to_owned(), "a".to_owned())]),
            configs: BTreeMap::new(),
        }
    }

    fn record(process: ProcessSpec) -> Record {
        let (configs, devices) = (Configs::new(), Devices::new());
        Record { assignment: assignment(process), configs, ended: None, devices }
    }

    fn words(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn templates_speak_of_this_task_on_this_node() {
        let process = ProcessSpec {
            command: words(&["{{.Service.Name}}", "--at={{.Node.Hostname}}/{{.Node.Labels.zone}}"]),
            env: BTreeMap::from([(
                "NAME".to_owned(),
                "{{.Service.Name}}.{{.Task.Slot}}".to_owned(),
            )]),
            hostname: Some("{{.Service.Name}}-{{.Task.Slot}}".to_owned()),
            ..ProcessSpec::default()
        };
        let node = NodeId::from_raw(9);
        let made = launch(&record(process), node, "here").expect("valid");
        assert_eq!(made.command, words(&["web", "--at=here/a"]));
        assert_eq!(made.hostname.as_deref(), Some("web-3"));
        let env: BTreeMap<_, _> = made.env.into_iter().collect();
        assert_eq!(env["NAME"], "web.3");
        assert_eq!(env["SWARM_SERVICE_NAME"], "web");
        assert_eq!(env["SWARM_TASK_SLOT"], "3");
        assert_eq!(env["SWARM_NODE_ID"], node.to_string());
        assert_eq!(env["SWARM_TASK_ID"], TaskId::from_raw(1).to_string());
        assert_eq!(made.slot, 3);
    }

    #[test]
    fn commands_of_probes_speak_of_the_task_too() {
        let mut asked = assignment(ProcessSpec::default());
        let words = words(&["check", "{{.Service.Name}}.{{.Task.Slot}}"]);
        let template = TaskTemplate {
            health: Some(Probe::new(Check::Command(words))),
            ready: Some(Probe::new(Check::Tcp { port: 80 })),
            ..TaskTemplate::clone(&asked.template)
        };
        asked.template = Arc::new(template);
        let made = probes(&asked, NodeId::from_raw(9), "here").expect("valid");
        let check = made.health.map(|probe| probe.check);
        assert_eq!(check, Some(Check::Command(vec!["check".to_owned(), "web.3".to_owned()])));
        assert_eq!(made.ready, asked.template.ready);
    }

    #[test]
    fn what_swarm_says_of_the_task_cannot_be_overwritten() {
        let env = BTreeMap::from([("SWARM_TASK_SLOT".to_owned(), "7".to_owned())]);
        let process = ProcessSpec { env, ..ProcessSpec::default() };
        let node = NodeId::from_raw(9);
        let made = launch(&record(process), node, "here").expect("valid");
        let slots: Vec<_> = made.env.iter().filter(|(key, _)| key == "SWARM_TASK_SLOT").collect();
        assert_eq!(slots.len(), 1);
        assert_eq!(slots[0].1, "3");
    }

    #[test]
    fn a_task_is_told_its_devices() {
        let devices = Devices::from([("camera".to_owned(), vec!["/dev/video1".to_owned()])]);
        let record = Record { devices, ..record(ProcessSpec::default()) };
        let made = launch(&record, NodeId::from_raw(9), "here").expect("valid");
        let told = ("SWARM_DEVICE_CAMERA".to_owned(), "/dev/video1".to_owned());
        assert!(made.env.contains(&told), "{:?}", made.env);
    }

    #[test]
    fn configs_become_files_and_unknown_fields_an_error() {
        let config = ConfigId::from_raw(5);
        let reference = ConfigReference {
            config,
            name: "conf".to_owned(),
            target: "etc/conf".to_owned(),
            uid: Some(1),
            gid: None,
            mode: 0o440,
        };
        let process = ProcessSpec { configs: vec![reference], ..ProcessSpec::default() };
        let configs = Configs::from([(config, Data::from(b"text".to_vec()))]);
        let node = NodeId::from_raw(9);
        let made = launch(&Record { configs, ..record(process) }, node, "here").expect("valid");
        let file = &made.configs[0];
        assert_eq!((file.path.as_str(), file.mode, file.uid), ("etc/conf", 0o440, Some(1)));
        assert_eq!(&file.content[..], b"text");
        let process = ProcessSpec { command: words(&["{{.Nope}}"]), ..ProcessSpec::default() };
        assert!(launch(&record(process), node, "here").is_err());
    }
}
