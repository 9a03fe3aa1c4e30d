//! Specs as tests and benchmarks need them.

use std::collections::BTreeMap;

use anyhow::Result;
use swarm_model::config::ConfigSpec;
use swarm_model::placement::Placement;
use swarm_model::runtime::{ProcessSpec, RuntimeSpec, Signal};
use swarm_model::service::{ServiceMode, ServiceSpec};
use swarm_model::task::TaskTemplate;
use swarm_model::update::{FailureAction, UpdatePolicy};

/// A program that stays until it is told to end.
pub const STAYS: [&str; 2] = ["/bin/sleep", "86400"];

/// A config of these bytes.
///
/// # Errors
/// When the name is none.
pub fn config(name: &str, data: &[u8]) -> Result<ConfigSpec> {
    Ok(ConfigSpec { name: name.parse()?, labels: BTreeMap::new(), data: data.to_vec().into() })
}

/// A service of `replicas` processes.
///
/// # Errors
/// When the name is none.
pub fn service(name: &str, replicas: u32, command: &[&str]) -> Result<ServiceSpec> {
    let process = ProcessSpec {
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        ..ProcessSpec::default()
    };
    // What is done to machines is not the versions' fault: no update is turned back.
    let policy = UpdatePolicy {
        monitor_ms: 0,
        failure_action: Some(FailureAction::Continue),
        ..UpdatePolicy::default()
    };
    Ok(ServiceSpec {
        name: name.parse()?,
        labels: BTreeMap::new(),
        mode: ServiceMode::Replicated { replicas },
        task_template: TaskTemplate {
            runtime: RuntimeSpec::Process(process),
            resources: Default::default(),
            restart_policy: Default::default(),
            placement: Placement::default(),
            stop_signal: Signal::TERM,
            stop_grace_ms: 2_000,
            force_update: 0,
            health: None,
            ready: None,
            drain_delay_ms: 0,
        },
        priority: Default::default(),
        update: policy,
        rollback: policy,
        min_available: None,
        job: Default::default(),
        schedule: None,
    })
}
