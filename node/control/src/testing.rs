//! A cluster without I/O for tests: the real state machine, and agents that do as they are told.
//!
//! What a task does is told by its program: `ok` runs, `fail` fails, `reject` cannot be started,
//! `once` completes, `flaky` runs and fails, `slow` never comes to run, `stubborn` fails twice and then
//! completes.

mod checks;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::ProptestConfig;
use swarm_model::cluster::ClusterSpec;
use swarm_model::command::{Actor, Command, NewNode, Op, StatusReport};
use swarm_model::event::Event;
use swarm_model::id::{ClusterId, IdSource, Incarnation, NodeId, ServiceId, TaskId};
use swarm_model::job::Run;
use swarm_model::meta::{Revision, Term};
use swarm_model::node::{Availability, NodeDescription, NodeSpec, Reachability, Role};
use swarm_model::outcome::{Done, Outcome};
use swarm_model::placement::Placement;
use swarm_model::plan::{Change, Plan};
use swarm_model::resources::{ResourceRequirements, Resources};
use swarm_model::restart::RestartPolicy;
use swarm_model::runtime::{ProcessSpec, RuntimeSpec, Signal};
use swarm_model::service::{ServiceMode, ServiceSpec};
use swarm_model::task::{Task, TaskStatus, TaskTemplate};
use swarm_model::task_state::{DesiredState, ObservedState};
use swarm_model::units::{Bytes, MilliCpu, Timestamp};
use swarm_model::update::{UpdatePolicy, UpdateStep};
use swarm_model::view::View;
use swarm_state::machine::Machine;

use crate::{CHANGES_MAX, Scope, reconcile};

const TERM: Term = Term(1);
/// What every node offers, besides two cameras.
pub(crate) const OFFERED_CPU: MilliCpu = MilliCpu(4000);
/// The same of memory.
pub(crate) const OFFERED_MEMORY: Bytes = Bytes(1024);

/// All that a node offers.
pub(crate) fn offer() -> Resources {
    let generic = BTreeMap::from([("device/camera".to_owned(), 2)]);
    Resources { generic, ..Resources::new(OFFERED_CPU, OFFERED_MEMORY) }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Ids(u128);

impl IdSource for Ids {
    fn draw(&mut self) -> u128 {
        self.0 += 1;
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }
}

/// Random numbers from a seed (splitmix64): faster to draw worlds from than strategies.
#[derive(Debug)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `bound`, which is not zero.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// True once in so many times.
    pub(crate) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of `all`.
    pub(crate) fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        let at = self.below(u64::try_from(all.len()).expect("small"));
        all[usize::try_from(at).expect("small")]
    }
}

/// A whole cluster in memory.
#[derive(Debug)]
pub(crate) struct Cluster {
    machine: Machine,
    revision: Revision,
    pub(crate) now: Timestamp,
    pub(crate) ids: Ids,
    pub(crate) nodes: Vec<NodeId>,
    /// What happened since the last round.
    pub(crate) scope: Scope,
    /// When the next plan is to be made though nothing happens.
    pub(crate) wake_at: Option<Timestamp>,
    /// When the present leader took the lead.
    led_since: Timestamp,
    /// What is to be looked at later, as the leader keeps it.
    later: BTreeSet<(Timestamp, ServiceId)>,
}

/// `factor` times as many cases as a property has, which is 256 or what `PROPTEST_CASES` says.
pub(crate) fn times(factor: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases * factor, failure_persistence: None, ..default }
}

/// A template whose program is `program`.
pub(crate) fn template(program: &str) -> TaskTemplate {
    let process = ProcessSpec { command: vec![program.to_owned()], ..ProcessSpec::default() };
    TaskTemplate {
        runtime: RuntimeSpec::Process(process),
        resources: ResourceRequirements::default(),
        restart_policy: RestartPolicy::default(),
        placement: Placement::default(),
        stop_signal: Signal::default(),
        stop_grace_ms: 10_000,
        force_update: 0,
        health: None,
        ready: None,
        drain_delay_ms: 0,
    }
}

/// A service of `replicas` tasks, or a global one. What runs under its updates is well at once.
pub(crate) fn spec(name: &str, replicas: Option<u32>, template: TaskTemplate) -> ServiceSpec {
    let mode = match replicas {
        Some(replicas) => ServiceMode::Replicated { replicas },
        None => ServiceMode::Global {},
    };
    let name = name.parse().expect("tests use valid names");
    let policy = UpdatePolicy { monitor_ms: 0, ..UpdatePolicy::default() };
    ServiceSpec {
        name,
        labels: BTreeMap::new(),
        mode,
        task_template: template,
        priority: Default::default(),
        update: policy,
        rollback: policy,
        min_available: None,
        job: Default::default(),
        schedule: None,
    }
}

/// A job of `completions` tasks, `max_concurrent` at a time.
pub(crate) fn job(name: &str, completions: u32, max_concurrent: u32, program: &str) -> ServiceSpec {
    let mut spec = spec(name, Some(1), template(program));
    spec.mode = ServiceMode::ReplicatedJob { completions, max_concurrent };
    (spec.update, spec.rollback) = Default::default();
    spec
}

pub(crate) fn program(task: &Task) -> &str {
    let RuntimeSpec::Process(process) = &task.template.runtime;
    &process.command[0]
}

impl Cluster {
    /// A cluster of `count` nodes that are all ready; node `n` is in zone `z<n % 2>`.
    pub(crate) fn new(count: usize) -> Self {
        let mut cluster = Self {
            machine: Machine::new(),
            revision: Revision(0),
            now: Timestamp::from_millis(1_000_000),
            ids: Ids::default(),
            nodes: Vec::new(),
            scope: Scope::default(),
            wake_at: None,
            led_since: Timestamp::default(),
            later: BTreeSet::new(),
        };
        cluster.add_node();
        while cluster.nodes.len() < count {
            cluster.add_node();
        }
        cluster
    }

    pub(crate) fn view(&self) -> &View {
        self.machine.view()
    }

    /// Applies one command; what it touched is in the scope of the next round.
    pub(crate) fn apply(&mut self, op: Op) -> Outcome {
        self.revision.0 += 1;
        let command =
            Command { request: None, at: self.now, actor: Actor::default(), op, if_revision: None };
        let (outcome, events): (Outcome, Vec<Event>) =
            self.machine.apply(self.revision, TERM, &command);
        self.scope.merge(Scope::from(events.as_slice()));
        outcome
    }

    pub(crate) fn add_node(&mut self) -> NodeId {
        let id = NodeId::draw(&mut self.ids);
        let number = self.nodes.len();
        let labels = BTreeMap::from([("zone".to_owned(), format!("z{}", number % 2))]);
        let role = if number == 0 { Role::Manager } else { Role::Worker };
        let description = NodeDescription {
            hostname: format!("n{number}"),
            resources: offer(),
            ..NodeDescription::default()
        };
        let node = NewNode {
            id,
            spec: NodeSpec { role, availability: Availability::Active, labels },
            description: description.clone(),
            addr: format!("127.0.0.{number}:2377"),
            token: None,
        };
        let op = if number == 0 {
            let spec = ClusterSpec::default();
            let id = ClusterId::draw(&mut self.ids);
            Op::InitCluster { id, spec, ca_certificate: Vec::new(), node }
        } else {
            Op::AddNode(node)
        };
        self.apply(op).expect("a new node joins");
        let addr = format!("127.0.0.{number}:2377");
        let incarnation = Incarnation::default();
        self.apply(Op::DescribeNode { id, incarnation, description, addr }).expect("it is known");
        self.nodes.push(id);
        id
    }

    pub(crate) fn reach(&mut self, id: NodeId, reachability: Reachability) {
        let incarnation = Incarnation::default();
        let message = String::new();
        let _gone = self.apply(Op::SetReachability { id, incarnation, reachability, message });
    }

    pub(crate) fn update_node(&mut self, id: NodeId, change: impl FnOnce(&mut NodeSpec)) {
        self.drain_by(id, None, change);
    }

    pub(crate) fn drain_by(
        &mut self,
        id: NodeId,
        drain_deadline: Option<Timestamp>,
        change: impl FnOnce(&mut NodeSpec),
    ) {
        let Some(node) = self.view().nodes.get(&id) else { return };
        let mut spec = node.spec.clone();
        change(&mut spec);
        self.apply(Op::UpdateNode { id, version: None, spec, drain_deadline })
            .expect("it is known");
    }

    pub(crate) fn drain(&mut self, id: NodeId) {
        self.update_node(id, |spec| spec.availability = Availability::Drain);
    }

    pub(crate) fn create(&mut self, spec: ServiceSpec) -> ServiceId {
        let id = ServiceId::draw(&mut self.ids);
        let done = self.apply(Op::CreateService { id, spec: Box::new(spec) });
        assert!(matches!(done, Ok(Done::Service(..))), "{done:?}");
        id
    }

    pub(crate) fn update(&mut self, id: ServiceId, change: impl FnOnce(&mut ServiceSpec)) {
        let Some(service) = self.view().services.get(&id).filter(|found| !found.removing) else {
            return;
        };
        let mut spec = ServiceSpec::clone(&service.spec);
        change(&mut spec);
        let op = Op::UpdateService { id, version: None, spec: Box::new(spec), steered: true };
        self.apply(op).expect("the spec is valid");
    }

    pub(crate) fn scale(&mut self, id: ServiceId, count: u32) {
        self.update(id, |spec| {
            if let ServiceMode::Replicated { replicas } = &mut spec.mode {
                *replicas = count;
            }
        });
    }

    pub(crate) fn report(&mut self, task: TaskId, state: ObservedState) {
        self.report_late(task, state, self.now);
    }

    /// What is told now of what happened then.
    pub(crate) fn report_late(&mut self, task: TaskId, state: ObservedState, then: Timestamp) {
        let Some(node) = self.view().tasks.get(&task).and_then(|task| task.node) else { return };
        let status = TaskStatus::new(state, then, "seen");
        let reports = vec![StatusReport { task, status }];
        self.apply(Op::ReportStatus { node, reports }).expect("reports are never rejected");
    }

    /// What is to be looked at now though nothing happened.
    pub(crate) fn due(&mut self) -> Scope {
        let mut scope = Scope::default();
        while let Some(due) = self.later.first().copied().filter(|(at, _)| *at <= self.now) {
            self.later.remove(&due);
            scope.services.insert(due.1);
        }
        scope
    }

    /// One round with the scope of what happened; checks the plan and what became of it.
    pub(crate) fn round(&mut self) -> Plan {
        let due = self.due();
        self.scope.merge(due);
        let mut scope = std::mem::take(&mut self.scope);
        scope.led_since = self.led_since;
        let plan = reconcile(self.machine.view(), &scope, self.now, &mut self.ids);
        let later = plan.later.iter().filter(|(_, at)| **at > self.now);
        self.later.extend(later.map(|(service, at)| (*at, *service)));
        self.wake_at = self.later.first().map(|(at, _)| *at);
        self.scope.services.extend(&plan.left);
        self.carry_out(&plan);
        plan
    }

    /// What a round would decide, of everything.
    pub(crate) fn plan(&mut self) -> Plan {
        reconcile(self.machine.view(), &Scope::everything(), self.now, &mut self.ids)
    }

    /// Another node leads, whose clock says `now`.
    pub(crate) fn lead_anew(&mut self, now: Timestamp) {
        self.later.clear();
        self.scope = Scope::everything();
        (self.now, self.led_since) = (now, now);
    }

    /// Applies a plan that was decided at `base`, of which not all may be fit any more.
    pub(crate) fn hand_in(&mut self, plan: &Plan, base: Revision) {
        if !plan.changes.is_empty() {
            let changes = plan.changes.clone();
            self.apply(Op::ApplyPlan { term: TERM, base, changes }).expect("the term is right");
        }
    }

    /// The views that the beginnings of `plan` lead to, the whole of it the last one.
    pub(crate) fn prefixes(&self, plan: &Plan, base: Revision) -> Vec<View> {
        let apply = |length: usize| {
            let mut machine = self.machine.clone();
            let changes = plan.changes[..length].to_vec();
            let op = Op::ApplyPlan { term: TERM, base, changes };
            let command = Command {
                request: None,
                at: self.now,
                actor: Actor::default(),
                op,
                if_revision: None,
            };
            let at = Revision(self.revision.0 + 1);
            drop(machine.apply(at, TERM, &command));
            machine.view().clone()
        };
        (0..=plan.changes.len()).map(apply).collect()
    }

    /// Applies `plan` and checks what must always hold.
    pub(crate) fn carry_out(&mut self, plan: &Plan) {
        assert!(plan.changes.len() <= CHANGES_MAX, "{} changes", plan.changes.len());
        if plan.changes.is_empty() {
            return;
        }
        self.check_places(plan);
        let changes = plan.changes.clone();
        let base = self.revision;
        let done = self.apply(Op::ApplyPlan { term: TERM, base, changes });
        assert!(matches!(done, Ok(Done::Plan { refused: 0, .. })), "{done:?} of {plan:?}");
        // What is decided for another template waits for the next round.
        let turned = plan.changes.iter().filter_map(|change| match change {
            Change::Update { service, step: UpdateStep::RollBack { .. }, .. } => Some(*service),
            _other => None,
        });
        self.check_but(&turned.collect());
    }

    /// All agents do one thing for each of their tasks; whether any did.
    pub(crate) fn agents(&mut self) -> bool {
        self.agents_where(&|_| true)
    }

    /// The same, of those tasks alone for which `will` says so.
    pub(crate) fn agents_where(&mut self, will: &dyn Fn(&Task) -> bool) -> bool {
        let view = self.view();
        let mut seen = Vec::new();
        for (id, node) in &view.nodes {
            if node.status.reachability == Reachability::Ready {
                seen.extend(view.tasks_on(*id).filter(|task| will(task)).filter_map(|task| {
                    let next = behave(task)?;
                    Some((task.id, next))
                }));
            }
        }
        let worked = !seen.is_empty();
        for (task, state) in seen {
            self.report(task, state);
        }
        worked
    }

    /// Rounds and agents until nothing happens any more; time goes on to the next wake-up.
    pub(crate) fn settle(&mut self) {
        for _ in 0..2000 {
            let planned = !self.round().changes.is_empty();
            let worked = self.agents();
            if planned || worked {
                continue;
            }
            let Some(at) = self.wake_at else { return self.check_nothing_was_missed() };
            self.now = at.max(self.now.after(Duration::from_millis(1)));
        }
        panic!("does not settle: {:#?}", self.view().tasks.values().collect::<Vec<_>>());
    }

    /// Rounds and agents at this moment, without waiting for any delay.
    pub(crate) fn settle_now(&mut self) {
        for _ in 0..2000 {
            let planned = !self.round().changes.is_empty();
            if !self.agents() && !planned {
                return;
            }
        }
        panic!("does not settle at {:?}", self.now);
    }

    /// So many rounds and turns of the agents, at this moment.
    pub(crate) fn settle_now_for(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.round();
            self.agents();
        }
    }

    fn check_nothing_was_missed(&mut self) {
        let all = reconcile(self.machine.view(), &Scope::everything(), self.now, &mut self.ids);
        assert_eq!(all.changes, [], "scoped rounds missed something");
    }

    /// The newest run of a job.
    pub(crate) fn run(&self, service: ServiceId) -> &Run {
        self.view().newest_run(service).expect("a job has a run")
    }

    pub(crate) fn active(&self, service: ServiceId) -> Vec<&Task> {
        let tasks = self.view().tasks_of(service).map(AsRef::as_ref);
        tasks.filter(|task: &&Task| task.is_active()).collect()
    }

    pub(crate) fn running(&self, service: ServiceId) -> Vec<&Task> {
        let mut tasks = self.active(service);
        tasks.retain(|task| task.status.state == ObservedState::Running);
        tasks
    }

    pub(crate) fn running_on(&self, service: ServiceId, node: NodeId) -> usize {
        self.running(service).iter().filter(|task| task.node == Some(node)).count()
    }
}

/// The next state of `task` on a node that does as it is told.
fn behave(task: &Task) -> Option<ObservedState> {
    let state = task.status.state;
    if state.is_terminal() {
        return None;
    }
    match task.desired {
        DesiredState::Ready => (state < ObservedState::Ready).then_some(ObservedState::Ready),
        DesiredState::Running if state < ObservedState::Running => Some(match program(task) {
            "fail" => ObservedState::Failed,
            "stubborn" if task.restart.attempts < 2 => ObservedState::Failed,
            "reject" => ObservedState::Rejected,
            "slow" if state == ObservedState::Starting => return None,
            "slow" => ObservedState::Starting,
            _runs => ObservedState::Running,
        }),
        DesiredState::Running => match program(task) {
            "once" | "stubborn" => Some(ObservedState::Complete),
            "flaky" => Some(ObservedState::Failed),
            _runs => None,
        },
        DesiredState::Shutdown | DesiredState::Remove => Some(ObservedState::Shutdown),
    }
}
