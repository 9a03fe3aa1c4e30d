//! The workload of the placement benchmark: many services on many nodes, placed by `reconcile`.
//!
//! Takes no time itself: the caller hands in a stopwatch and prints the figures.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use swarm_model::id::{IdSource, NodeId, ServiceId, TaskId};
use swarm_model::meta::{Meta, Revision, Version};
use swarm_model::name::ParseNameError;
use swarm_model::node::{
    Availability, Node, NodeDescription, NodeSpec, NodeStatus, Reachability, Role,
};
use swarm_model::placement::{Constraint, Placement, Preference};
use swarm_model::plan::{Change, NewTask, Plan};
use swarm_model::resources::{ResourceRequirements, Resources};
use swarm_model::runtime::{ProcessSpec, RuntimeSpec, Signal};
use swarm_model::service::{Service, ServiceMode, ServiceSpec};
use swarm_model::task::{DEFAULT_STOP_GRACE_MS, Slot, Task, TaskStatus, TaskTemplate};
use swarm_model::task_state::{DesiredState, ObservedState};
use swarm_model::units::{Bytes, MilliCpu, Timestamp};
use swarm_model::view::View;

use crate::{Scope, reconcile};

/// Replicas of each service of the workload.
const REPLICAS: u32 = 100;
/// As many tasks as a full node has.
const TASKS_MAX: u32 = 30;
/// What each reserves.
const TASK_CPU: u64 = 100;

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

/// Places `tasks` tasks with reservations on `nodes` nodes, in services of 100 replicas. All have a
/// constraint that nine of ten nodes meet; every fourth spreads over zones and racks, every eighth
/// packs. Asks as the leader does. `stopwatch` tells the time since any fixed moment.
///
/// # Errors
/// Never in practice: names are made from numbers.
pub fn placements(
    nodes: u32,
    tasks: u32,
    stopwatch: Stopwatch<'_>,
) -> Result<Placements, ParseNameError> {
    let size = Size { nodes, tasks, room: 2 * TASKS_MAX, bound: true };
    Ok(World::filled(size, stopwatch)?.1)
}

/// The view of `tasks` running tasks on `nodes` nodes, in services of 100 replicas: to see what it
/// takes. No round is decided for it, so nothing else is left in memory.
///
/// # Errors
/// Never in practice: names are made from numbers.
pub fn view(nodes: u32, tasks: u32) -> Result<View, ParseNameError> {
    let size = Size { nodes, tasks, room: TASKS_MAX, bound: false };
    let mut world = World::empty(size)?;
    let hosts: Vec<NodeId> = world.view.nodes.keys().copied().collect();
    let mut hosts = hosts.into_iter().cycle();
    let services: Vec<ServiceId> = world.view.services.keys().copied().collect();
    for number in 0..tasks {
        let slot = Slot::Replica(number % REPLICAS + 1);
        let service = services.get((number / REPLICAS) as usize);
        let task = service.zip(hosts.next()).and_then(|(service, node)| {
            let id = TaskId::draw(&mut world.ids);
            running(&world.view, &in_place(id, *service, slot, node))
        });
        if let Some(task) = task {
            world.view.put_task(task);
        }
    }
    Ok(world.view)
}

/// The time since any fixed moment.
pub type Stopwatch<'w> = &'w mut dyn FnMut() -> Duration;

/// What single changes cost in a full cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Single {
    /// One more task, which fits on one node.
    pub fits: Vec<Duration>,
    /// One more task, which fits nowhere: the reason is told.
    pub waits: Vec<Duration>,
    /// A task was seen running: nothing follows.
    pub runs: Vec<Duration>,
    /// A task failed: it is replaced.
    pub fails: Vec<Duration>,
}

/// Measures each `runs` times on `nodes` nodes, which are full with 30 tasks each.
///
/// # Errors
/// Never in practice: names are made from numbers.
pub fn single(nodes: u32, runs: u32, stopwatch: Stopwatch<'_>) -> Result<Single, ParseNameError> {
    let size = Size { nodes, tasks: nodes * TASKS_MAX, room: TASKS_MAX, bound: false };
    let (mut world, _) = World::filled(size, stopwatch)?;
    let mut single = Single::default();
    let tasks: Vec<Arc<Task>> = world.view.tasks.values().cloned().collect();
    let step = (tasks.len() / runs.max(1) as usize).max(1);
    for (number, task) in (0..runs).zip(tasks.iter().step_by(step)) {
        let scope = Scope { services: [task.service].into(), ..Scope::default() };
        single.runs.push(world.time(&scope, stopwatch).1);
        let mut failed = Task::clone(task);
        failed.status.state = ObservedState::Failed;
        world.view.put_task(failed.clone());
        let (plan, elapsed) = world.time(&scope, stopwatch);
        assert_eq!(placed(&plan), 1, "it is replaced where it was: there is no other room");
        single.fails.push(elapsed);
        // Nobody takes its place but the new service.
        failed.desired = DesiredState::Shutdown;
        world.view.put_task(failed);
        let (plan, elapsed) = world.time_new_service(number, stopwatch)?;
        assert_eq!(placed(&plan), 1, "there is room for one");
        single.fits.push(elapsed);
        world.view.put_task(Task::clone(task));
        let (plan, elapsed) = world.time_new_service(number, stopwatch)?;
        assert_eq!((placed(&plan), plan.changes.len()), (0, 1), "it waits");
        single.waits.push(elapsed);
    }
    Ok(single)
}

/// Tasks that got a node at once.
fn placed(plan: &Plan) -> usize {
    let has_node =
        |change: &&Change| matches!(change, Change::CreateTask(new) if new.node.is_some());
    plan.changes.iter().filter(has_node).count()
}

/// How large a cluster is.
#[derive(Debug, Clone, Copy)]
struct Size {
    nodes: u32,
    tasks: u32,
    /// As many tasks as a node has room for.
    room: u32,
    /// Whether services have a constraint.
    bound: bool,
}

/// A cluster of the workload.
struct World {
    view: View,
    ids: Counter,
}

impl World {
    /// Nodes and services without tasks.
    fn empty(size: Size) -> Result<Self, ParseNameError> {
        let Size { nodes, tasks, room, bound } = size;
        let view = View { revision: Revision(1), ..View::default() };
        let mut world = Self { view, ids: Counter::default() };
        for number in 0..nodes {
            let node = node(NodeId::draw(&mut world.ids), number, room);
            world.view.nodes.insert(node.id, Arc::new(node));
        }
        for number in 0..tasks.div_ceil(REPLICAS) {
            let replicas = REPLICAS.min(tasks - number * REPLICAS);
            let id = ServiceId::draw(&mut world.ids);
            world.view.put_service(service(id, number, replicas, bound)?);
        }
        Ok(world)
    }

    /// All tasks placed and running.
    fn filled(size: Size, stopwatch: Stopwatch<'_>) -> Result<(Self, Placements), ParseNameError> {
        let mut world = Self::empty(size)?;
        let mut result = Placements { placed: 0, rounds: 0, elapsed: Duration::ZERO };
        let mut scope = Scope::everything();
        loop {
            let (plan, elapsed) = world.time(&scope, stopwatch);
            result.elapsed += elapsed;
            if plan.changes.is_empty() {
                return Ok((world, result));
            }
            result.rounds += 1;
            result.placed += world.carry_out(&plan);
            scope = Scope { services: plan.left.clone(), ..Scope::default() };
            scope.services.extend(plan.changes.iter().filter_map(|change| match change {
                Change::CreateTask(new) => Some(new.service),
                _other => None,
            }));
        }
    }

    fn time(&mut self, scope: &Scope, stopwatch: Stopwatch<'_>) -> (Plan, Duration) {
        let before = stopwatch();
        let plan = reconcile(&self.view, scope, Timestamp::default(), &mut self.ids);
        (plan, stopwatch().saturating_sub(before))
    }

    /// A service of one task comes, and goes again.
    fn time_new_service(
        &mut self,
        number: u32,
        stopwatch: Stopwatch<'_>,
    ) -> Result<(Plan, Duration), ParseNameError> {
        let id = ServiceId::draw(&mut self.ids);
        // Of the plain kind.
        self.view.put_service(service(id, 1_000_002 + 8 * number, 1, false)?);
        let timed = self.time(&Scope { services: [id].into(), ..Scope::default() }, stopwatch);
        self.view.remove_service(id);
        Ok(timed)
    }

    /// How many tasks got a node.
    fn carry_out(&mut self, plan: &Plan) -> u32 {
        self.view.revision.0 += 1;
        let mut placed = 0;
        for change in &plan.changes {
            if let Change::CreateTask(new) = change
                && let Some(task) = running(&self.view, new)
            {
                placed += u32::from(task.node.is_some());
                self.view.put_task(task);
            }
        }
        placed
    }
}

fn node(id: NodeId, number: u32, room: u32) -> Node {
    let label = |key: &str, value: String| (key.to_owned(), value);
    let labels = BTreeMap::from([
        label("zone", format!("z{}", number % 3)),
        label("rack", format!("r{}", number % 60)),
        label("disk", if number.is_multiple_of(10) { "hdd".to_owned() } else { "ssd".to_owned() }),
    ]);
    Node {
        id,
        meta: Meta::default(),
        spec: NodeSpec { role: Role::Worker, availability: Availability::Active, labels },
        description: NodeDescription {
            hostname: format!("node-{number}"),
            resources: Resources::new(MilliCpu(TASK_CPU * u64::from(room)), Bytes(256 << 30)),
            ..NodeDescription::default()
        },
        status: NodeStatus { reachability: Reachability::Ready, ..NodeStatus::default() },
        drain: None,
    }
}

fn service(
    id: ServiceId,
    number: u32,
    replicas: u32,
    bound: bool,
) -> Result<Service, ParseNameError> {
    let mut placement = Placement::default();
    let mut prefer = |text: &str| placement.preferences.extend(text.parse::<Preference>().ok());
    match number % 8 {
        0 | 4 => {
            prefer("spread=node.labels.zone");
            prefer("spread=node.labels.rack");
        }
        1 => prefer("binpack"),
        _plain => {}
    }
    if bound {
        placement.constraints.extend("node.labels.disk==ssd".parse::<Constraint>().ok());
    }
    let reservations = Resources::new(MilliCpu(TASK_CPU), Bytes(64 << 20));
    let template = TaskTemplate {
        runtime: RuntimeSpec::Process(ProcessSpec::default()),
        resources: ResourceRequirements { reservations, ..ResourceRequirements::default() },
        restart_policy: swarm_model::restart::RestartPolicy::default(),
        placement,
        stop_signal: Signal::default(),
        stop_grace_ms: DEFAULT_STOP_GRACE_MS,
        force_update: 0,
        health: None,
        ready: None,
        drain_delay_ms: 0,
    };
    let spec = ServiceSpec {
        name: format!("service-{number}").parse()?,
        labels: BTreeMap::new(),
        mode: ServiceMode::Replicated { replicas },
        task_template: template.clone(),
        priority: Default::default(),
        update: Default::default(),
        rollback: Default::default(),
        min_available: None,
        job: Default::default(),
        schedule: None,
    };
    Ok(Service {
        id,
        meta: Meta::default(),
        spec: Arc::new(spec),
        previous_spec: None,
        template_version: Version(1),
        template: Arc::new(template),
        removing: false,
        update: None,
        schedule: None,
    })
}

/// A task that has its place.
fn in_place(id: TaskId, service: ServiceId, slot: Slot, node: NodeId) -> NewTask {
    NewTask {
        id,
        service,
        template_version: Version(1),
        slot,
        node: Some(node),
        pending: String::new(),
        desired: DesiredState::Running,
        not_before: None,
        restart: swarm_model::restart::RestartRecord::default(),
        voluntary: false,
    }
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
        update: None,
        ran_at: None,
    })
}
