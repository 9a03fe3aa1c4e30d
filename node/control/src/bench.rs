//! The workload of the placement benchmark: many services on many nodes, placed by `reconcile`.
//!
//! Takes no time itself: the caller hands in a stopwatch and prints the figures.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use swarm_model::id::{IdSource, NodeId, ServiceId};
use swarm_model::meta::{Meta, Revision, Version};
use swarm_model::name::ParseNameError;
use swarm_model::node::{
    Availability, Node, NodeDescription, NodeSpec, NodeStatus, Reachability, Role,
};
use swarm_model::placement::{Placement, Preference};
use swarm_model::plan::{Change, NewTask};
use swarm_model::resources::{ResourceRequirements, Resources};
use swarm_model::runtime::{ProcessSpec, RuntimeSpec, Signal};
use swarm_model::service::{Service, ServiceMode, ServiceSpec};
use swarm_model::task::{DEFAULT_STOP_GRACE_MS, Task, TaskStatus, TaskTemplate};
use swarm_model::task_state::ObservedState;
use swarm_model::units::{Bytes, MilliCpu, Timestamp};
use swarm_model::view::View;

use crate::{Scope, reconcile};

/// Replicas of each service of the workload.
const REPLICAS: u32 = 100;

/// What a run measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placements {
    /// Tasks that got a node.
    pub placed: u32,
    /// Rounds that it took.
    pub rounds: u32,
    /// Time spent in `reconcile`, by the stopwatch.
    pub elapsed: Duration,
}

impl Placements {
    /// Placements a second.
    pub fn per_second(&self) -> f64 {
        f64::from(self.placed) / self.elapsed.as_secs_f64()
    }
}

#[derive(Debug, Default)]
struct Counter(u128);

impl IdSource for Counter {
    fn draw(&mut self) -> u128 {
        self.0 += 1;
        // Spread over the ordered maps like random ids.
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }
}

/// Places `tasks` tasks with reservations on `nodes` nodes, in services of 100 replicas of which
/// every fourth spreads over zones. `stopwatch` tells the time since any fixed moment.
///
/// # Errors
/// Never in practice: names are made from numbers.
pub fn placements(
    nodes: u32,
    tasks: u32,
    stopwatch: &mut dyn FnMut() -> Duration,
) -> Result<Placements, ParseNameError> {
    let mut ids = Counter::default();
    let mut view = View { revision: Revision(1), ..View::default() };
    for number in 0..nodes {
        let node = node(NodeId::draw(&mut ids), number);
        view.nodes.insert(node.id, Arc::new(node));
    }
    for number in 0..tasks.div_ceil(REPLICAS) {
        let replicas = REPLICAS.min(tasks - number * REPLICAS);
        view.put_service(service(ServiceId::draw(&mut ids), number, replicas)?);
    }
    let mut result = Placements { placed: 0, rounds: 0, elapsed: Duration::ZERO };
    loop {
        let before = stopwatch();
        let plan = reconcile(&view, &Scope::everything(), Timestamp::default(), &mut ids);
        result.elapsed += stopwatch().saturating_sub(before);
        if plan.changes.is_empty() {
            return Ok(result);
        }
        result.rounds += 1;
        view.revision.0 += 1;
        for change in &plan.changes {
            if let Change::CreateTask(new) = change
                && let Some(task) = running(&view, new)
            {
                result.placed += u32::from(task.node.is_some());
                view.put_task(task);
            }
        }
    }
}

fn node(id: NodeId, number: u32) -> Node {
    let labels = BTreeMap::from([("zone".to_owned(), format!("z{}", number % 3))]);
    Node {
        id,
        meta: Meta::default(),
        spec: NodeSpec { role: Role::Worker, availability: Availability::Active, labels },
        description: NodeDescription {
            hostname: format!("node-{number}"),
            resources: Resources::new(MilliCpu(64_000), Bytes(256 << 30)),
            ..NodeDescription::default()
        },
        status: NodeStatus { reachability: Reachability::Ready, ..NodeStatus::default() },
        drain: None,
    }
}

fn service(id: ServiceId, number: u32, replicas: u32) -> Result<Service, ParseNameError> {
    let mut placement = Placement::default();
    if number.is_multiple_of(4) {
        placement.preferences.extend("spread=node.labels.zone".parse::<Preference>().ok());
    }
    let reservations = Resources::new(MilliCpu(100), Bytes(64 << 20));
    let template = TaskTemplate {
        runtime: RuntimeSpec::Process(ProcessSpec::default()),
        resources: ResourceRequirements { reservations, ..ResourceRequirements::default() },
        restart_policy: swarm_model::restart::RestartPolicy::default(),
        placement,
        stop_signal: Signal::default(),
        stop_grace_ms: DEFAULT_STOP_GRACE_MS,
        force_update: 0,
    };
    let spec = ServiceSpec {
        name: format!("service-{number}").parse()?,
        labels: BTreeMap::new(),
        mode: ServiceMode::Replicated { replicas },
        task_template: template.clone(),
        priority: Default::default(),
    };
    Ok(Service {
        id,
        meta: Meta::default(),
        spec: Arc::new(spec),
        previous_spec: None,
        template_version: Version(1),
        template: Arc::new(template),
        removing: false,
    })
}

/// The task as it is once its node runs it.
fn running(view: &View, new: &NewTask) -> Option<Task> {
    let service = view.services.get(&new.service)?;
    Some(Task {
        id: new.id,
        meta: Meta::new(view.revision, Timestamp::default()),
        service: new.service,
        slot: new.slot,
        node: new.node,
        template_version: new.template_version,
        template: Arc::clone(&service.template),
        desired: new.desired,
        status: TaskStatus::new(ObservedState::Running, Timestamp::default(), "runs"),
        not_before: new.not_before,
        restart: new.restart,
        eviction: None,
    })
}
