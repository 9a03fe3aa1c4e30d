//! Random histories: faults, updates, drains and scales in any order, then the faults end and the
//! cluster has to come to rest with everything running. What must hold after each plan is checked
//! by the harness.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use swarm_model::command::Op;
use swarm_model::id::{NodeId, ServiceId};
use swarm_model::job::RunPhase;
use swarm_model::node::{Availability, Reachability};
use swarm_model::plan::Change;
use swarm_model::restart::{Reschedule, RestartCondition};
use swarm_model::runtime::RuntimeSpec;
use swarm_model::service::ServiceMode;
use swarm_model::share::Share;
use swarm_model::task::{Slot, Task, TaskTemplate};
use swarm_model::task_state::{DesiredState, ObservedState};
use swarm_model::update::{FailureAction, Order, UpdatePolicy, UpdateStep};

use crate::testing::{Cluster, job, spec, template, times};
use crate::{Scope, reconcile};

/// A shape of service.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    memory: u64,
    cpu: u64,
    zone: Option<bool>,
    spread: bool,
    per_node: u32,
    condition: RestartCondition,
    reschedule: Reschedule,
    program: &'static str,
}

pub(super) fn shape() -> impl Strategy<Value = Shape> {
    let condition = prop_oneof![
        3 => Just(RestartCondition::Any),
        1 => Just(RestartCondition::OnFailure),
        1 => Just(RestartCondition::None)
    ];
    let reschedule = prop_oneof![4 => Just(Reschedule::Always), 1 => Just(Reschedule::Never)];
    let program =
        prop_oneof![5 => Just("ok"), 1 => Just("fail"), 1 => Just("reject"), 1 => Just("once")];
    let zone = prop_oneof![3 => Just(None), 1 => any::<bool>().prop_map(Some)];
    let numbers = (0u64..500, 0u64..2000, prop_oneof![3 => Just(0u32), 1 => 1u32..3]);
    (numbers, zone, any::<bool>(), condition, reschedule, program).prop_map(
        |((memory, cpu, per_node), zone, spread, condition, reschedule, program)| Shape {
            memory,
            cpu,
            zone,
            spread,
            per_node,
            condition,
            reschedule,
            program,
        },
    )
}

impl Shape {
    /// The same without needs that nodes could lack.
    pub(super) fn light(self) -> Self {
        Self { memory: 0, cpu: 0, per_node: 0, ..self }
    }

    pub(super) fn reserves_nothing(self) -> bool {
        (self.memory, self.cpu, self.per_node) == (0, 0, 0)
    }

    /// The same with a program that runs.
    pub(super) fn that_runs(self) -> Self {
        Self { program: "ok", ..self }
    }

    pub(super) fn template(self) -> TaskTemplate {
        let mut template = template(self.program);
        template.resources.reservations.memory.0 = self.memory;
        template.resources.reservations.cpu.0 = self.cpu;
        template.placement.max_replicas_per_node = self.per_node;
        template.restart_policy.condition = self.condition;
        template.restart_policy.reschedule = self.reschedule;
        let zone = self.zone.map(|one| format!("node.labels.zone==z{}", u8::from(one)));
        template.placement.constraints.extend(zone.and_then(|text| text.parse().ok()));
        let spread = self.spread.then_some("spread=node.labels.zone");
        template.placement.preferences.extend(spread.and_then(|text| text.parse().ok()));
        template
    }
}

/// Something that happens.
#[derive(Debug, Clone)]
enum Step {
    Create(Option<u32>, Shape),
    Job(Option<(u32, u32)>, Shape, Option<u64>),
    StartRun(usize),
    StopRun(usize),
    Update(usize, Shape, UpdatePolicy),
    Rollback(usize),
    Pause(usize, bool),
    Promote(usize),
    Scale(usize, u32),
    RemoveService(usize),
    AddNode,
    RemoveNode(usize),
    Reach(usize, Reachability),
    Available(usize, Availability, Option<u64>),
    Zone(usize, bool),
    End(usize, ObservedState),
    Agents,
    Round,
    Elapse(u64),
}

/// Any rules of updates.
pub(super) fn policy() -> impl Strategy<Value = UpdatePolicy> {
    let action = prop::sample::select(vec![
        None,
        Some(FailureAction::Pause),
        Some(FailureAction::Continue),
        Some(FailureAction::Rollback),
    ]);
    let order = prop::sample::select(vec![None, Some(Order::StartFirst), Some(Order::StopFirst)]);
    let times = (prop_oneof![Just(0u64), 0u64..3000], prop_oneof![Just(0u64), 0u64..6000]);
    let ratio = prop_oneof![2 => Just(0u16), 1 => 0u16..=1000];
    (0u32..5, times, action, ratio, order).prop_map(
        |(parallelism, (delay_ms, monitor_ms), failure_action, max_failure_permille, order)| {
            UpdatePolicy {
                parallelism,
                delay_ms,
                monitor_ms,
                failure_action,
                max_failure_permille,
                order,
                start_timeout_ms: 30_000,
                canary: None,
                auto_promote: false,
            }
        },
    )
}

/// The same with any canary.
pub(super) fn policy_with_canary() -> impl Strategy<Value = UpdatePolicy> {
    let share = prop_oneof![
        3 => Just(None), 1 => (1u32..9).prop_map(|count| Some(Share::Count(count))),
        1 => (1u8..=100).prop_map(|percent| Some(Share::Percent(percent))),
    ];
    (policy(), share, any::<bool>()).prop_map(|(policy, canary, auto)| UpdatePolicy {
        canary,
        auto_promote: auto && canary.is_some(),
        ..policy
    })
}

fn step() -> impl Strategy<Value = Step> {
    let at = 0usize..100;
    let reach =
        prop_oneof![Just(Reachability::Down), Just(Reachability::Ready), Just(Reachability::Ready)];
    let available = prop_oneof![
        2 => Just(Availability::Active), 1 => Just(Availability::Pause),
        2 => Just(Availability::Drain)
    ];
    let end = prop_oneof![
        3 => Just(ObservedState::Failed), 1 => Just(ObservedState::Complete),
        1 => Just(ObservedState::Rejected), 1 => Just(ObservedState::Shutdown)
    ];
    let replicas = prop_oneof![4 => (0u32..9).prop_map(Some), 1 => Just(None)];
    prop_oneof![
        3 => (replicas, shape()).prop_map(|(replicas, shape)| Step::Create(replicas, shape)),
        2 => (prop::option::weighted(0.8, (1u32..9, 0u32..4)), shape(), prop::option::of(1u64..90_000))
            .prop_map(|(size, shape, deadline)| Step::Job(size, shape, deadline)),
        1 => at.clone().prop_map(Step::StartRun),
        1 => at.clone().prop_map(Step::StopRun),
        2 => (at.clone(), shape(), policy_with_canary())
            .prop_map(|(at, shape, policy)| Step::Update(at, shape, policy)),
        1 => at.clone().prop_map(Step::Rollback),
        1 => (at.clone(), any::<bool>()).prop_map(|(at, paused)| Step::Pause(at, paused)),
        1 => at.clone().prop_map(Step::Promote),
        2 => (at.clone(), 0u32..9).prop_map(|(at, count)| Step::Scale(at, count)),
        1 => at.clone().prop_map(Step::RemoveService),
        1 => Just(Step::AddNode),
        1 => at.clone().prop_map(Step::RemoveNode),
        3 => (at.clone(), reach).prop_map(|(at, reach)| Step::Reach(at, reach)),
        2 => (at.clone(), available, prop::option::of(0u64..5000))
            .prop_map(|(at, available, deadline)| Step::Available(at, available, deadline)),
        1 => (at.clone(), any::<bool>()).prop_map(|(at, one)| Step::Zone(at, one)),
        3 => (at, end).prop_map(|(at, end)| Step::End(at, end)),
        8 => Just(Step::Agents),
        10 => Just(Step::Round),
        2 => (0u64..70_000).prop_map(Step::Elapse),
    ]
}

struct World {
    cluster: Cluster,
    created: usize,
}

impl World {
    fn service(&self, at: usize) -> Option<ServiceId> {
        let ids: Vec<_> = self.cluster.view().services.keys().copied().collect();
        (!ids.is_empty()).then(|| ids[at % ids.len()])
    }

    fn node(&self, at: usize) -> NodeId {
        let ids: Vec<_> = self.cluster.view().nodes.keys().copied().collect();
        ids[at % ids.len()]
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Create(replicas, shape) => {
                self.created += 1;
                let name = format!("s{}", self.created);
                self.cluster.create(spec(&name, replicas, shape.template()));
            }
            Step::Job(size, shape, deadline_ms) => self.create_job(size, shape, deadline_ms),
            Step::Update(at, ..)
            | Step::Rollback(at)
            | Step::Pause(at, _)
            | Step::Promote(at)
            | Step::StartRun(at)
            | Step::StopRun(at) => {
                if let Some(id) = self.service(at) {
                    self.change(id, step);
                }
            }
            Step::Scale(at, count) => {
                if let Some(id) = self.service(at) {
                    self.cluster.scale(id, count);
                }
            }
            Step::RemoveService(at) => {
                if let Some(id) = self.service(at) {
                    let _twice = self.cluster.apply(Op::RemoveService { id });
                }
            }
            Step::AddNode => {
                if self.cluster.view().nodes.len() < 6 {
                    self.cluster.add_node();
                }
            }
            Step::RemoveNode(at) => {
                let id = self.node(at);
                let _last_manager = self.cluster.apply(Op::RemoveNode { id, force: true });
            }
            Step::Reach(at, reach) => self.cluster.reach(self.node(at), reach),
            Step::Available(at, availability, deadline) => {
                let now = self.cluster.now;
                let deadline = deadline.map(|millis| now.after(Duration::from_millis(millis)));
                let deadline = deadline.filter(|_| availability == Availability::Drain);
                let node = self.node(at);
                self.cluster.drain_by(node, deadline, |spec| spec.availability = availability);
            }
            Step::Zone(at, one) => self.cluster.update_node(self.node(at), |spec| {
                spec.labels.insert("zone".into(), format!("z{}", u8::from(one)));
            }),
            Step::End(at, end) => {
                let view = self.cluster.view();
                let alive = view.tasks.values().filter(|task| {
                    let ready = |node| {
                        view.nodes
                            .get(&node)
                            .is_some_and(|node| node.status.reachability == Reachability::Ready)
                    };
                    task.holds_node() && task.node.is_some_and(ready)
                });
                let ids: Vec<_> = alive.map(|task| task.id).collect();
                if !ids.is_empty() {
                    self.cluster.report(ids[at % ids.len()], end);
                }
            }
            Step::Agents => {
                self.cluster.agents();
            }
            Step::Round => self.round(),
            Step::Elapse(millis) => {
                self.cluster.now = self.cluster.now.after(Duration::from_millis(millis));
            }
        }
    }

    fn create_job(&mut self, size: Option<(u32, u32)>, shape: Shape, deadline_ms: Option<u64>) {
        self.created += 1;
        let mut spec = job(&format!("j{}", self.created), 1, 0, shape.program);
        spec.mode = match size {
            Some((completions, max_concurrent)) => {
                ServiceMode::ReplicatedJob { completions, max_concurrent }
            }
            None => ServiceMode::GlobalJob {},
        };
        spec.task_template = shape.template();
        spec.job.deadline_ms = deadline_ms;
        self.cluster.create(spec);
    }

    /// What concerns the update of a service.
    fn change(&mut self, id: ServiceId, step: &Step) {
        // There may be none to pause, and nothing to go back to.
        match *step {
            Step::Update(_, shape, policy) => self.cluster.update(id, |spec| {
                spec.task_template = shape.template();
                if !spec.mode.is_job() {
                    spec.update = policy;
                }
            }),
            Step::StartRun(_) => drop(self.cluster.apply(Op::StartRun { id })),
            Step::StopRun(_) => drop(self.cluster.apply(Op::StopRun { id, run: None })),
            Step::Rollback(_) => {
                drop(self.cluster.apply(Op::RollbackService { id, version: None, to: None }));
            }
            Step::Pause(_, paused) => {
                drop(self.cluster.apply(Op::PauseUpdate { id, paused }));
            }
            Step::Promote(_) => drop(self.cluster.apply(Op::PromoteUpdate { id })),
            _ => {}
        }
    }

    /// A round, and the whole view right after it: nothing may be left to decide, but the start of
    /// a task that got its node when its delay was over (an object changes once a plan), and the next
    /// slot of an update whose last one turned out to have no place: just one, whose task is old.
    fn round(&mut self) {
        let plan = self.cluster.round();
        let view = self.cluster.view().clone();
        let again = reconcile(&view, &Scope::everything(), self.cluster.now, &mut self.cluster.ids);
        let waits = |changes: &[Change], of: ServiceId| {
            let created = |change: &&Change| matches!(change, Change::CreateTask(new) if new.node.is_none() && new.service == of);
            changes.iter().filter(created).count()
        };
        let turned: BTreeSet<ServiceId> = plan
            .changes
            .iter()
            .filter_map(|change| match change {
                Change::Update { service, step: UpdateStep::RollBack { .. }, .. } => Some(*service),
                _other => None,
            })
            .collect();
        let of = |change: &Change| match change {
            Change::CreateTask(new) => Some(new.service),
            Change::SetDesired { task, .. }
            | Change::Yield { task, .. }
            | Change::Explain { task, .. }
            | Change::Assign { task, .. }
            | Change::Preempt { task, .. }
            | Change::Orphan { task, .. }
            | Change::RemoveTask { task, .. } => view.tasks.get(task).map(|task| task.service),
            Change::Update { service, .. }
            | Change::EndRun { service, .. }
            | Change::Fire { service, .. }
            | Change::DeleteService { service, .. } => Some(*service),
        };
        let follows = |change: &Change| match change {
            // It has another template since.
            change if of(change).is_some_and(|service| turned.contains(&service)) => true,
            // It counts as history only now.
            Change::RemoveTask { task, .. } => {
                let orphaned =
                    |c: &Change| matches!(c, Change::Orphan { task: t, .. } if t == task);
                plan.changes.iter().any(orphaned)
            }
            // What its tasks take changes why others wait.
            Change::Explain { .. } if !turned.is_empty() => true,
            Change::SetDesired { task, desired: DesiredState::Running, .. } => plan
                .changes
                .iter()
                .any(|c| matches!(c, Change::Assign { task: t, .. } if t == task)),
            Change::CreateTask(new) if new.node.is_none() => {
                let current = view.services[&new.service].template_version;
                let mut tasks = view.tasks_in(new.service, new.slot);
                tasks.any(|task| task.is_active() && task.template_version != current)
                    && waits(&plan.changes, new.service) > 0
                    && waits(&again.changes, new.service) == 1
            }
            _other => false,
        };
        assert!(again.changes.iter().all(follows), "{:#?} after {plan:#?}", again.changes);
    }

    /// Ends all faults: nodes are back and open, programs are sound.
    fn heal(&mut self) {
        for node in self.cluster.view().nodes.keys().copied().collect::<Vec<_>>() {
            self.cluster.reach(node, Reachability::Ready);
            self.cluster.update_node(node, |spec| spec.availability = Availability::Active);
        }
        for id in self.cluster.view().services.keys().copied().collect::<Vec<_>>() {
            self.cluster.update(id, |spec| {
                let RuntimeSpec::Process(process) = &mut spec.task_template.runtime;
                process.command = vec!["ok".to_owned()];
                spec.task_template.force_update += 1;
                if spec.mode.is_job() {
                    process.command = vec!["once".to_owned()];
                    spec.job.deadline_ms = None;
                    return;
                }
                // Else what fits nowhere in time would bring back what was before.
                spec.update.failure_action = Some(FailureAction::Continue);
                (spec.update.canary, spec.update.auto_promote) = (None, false);
            });
        }
        self.cluster.settle();
    }

    /// At rest: what is wanted runs, from the current template, or waits and says why.
    fn check_rest(&self) {
        let view = self.cluster.view();
        for (id, service) in &view.services {
            assert!(!service.removing, "{} is still there", service.spec.name);
            if service.spec.mode.is_job() {
                self.check_done(*id);
                continue;
            }
            let active = self.cluster.active(*id);
            for task in &active {
                let waits = task.node.is_none() && !task.status.error.is_empty();
                let runs = task.status.state == ObservedState::Running;
                assert!(runs || waits, "{task:#?}");
            }
            let slots: BTreeSet<Slot> = active.iter().map(|task| task.slot).collect();
            let wanted = match service.spec.mode {
                ServiceMode::Replicated { replicas } => replicas as usize,
                ServiceMode::Global {} => {
                    let rules = &service.template.placement.constraints;
                    view.nodes.values().filter(|n| rules.iter().all(|r| r.allows(n))).count()
                }
                ServiceMode::ReplicatedJob { .. } | ServiceMode::GlobalJob {} => continue,
            };
            assert_eq!(slots.len(), wanted, "{service:#?} {active:#?}");
            let old = active.iter().any(|t| t.template_version != service.template_version);
            let stuck = active.iter().any(|task| task.node.is_none());
            assert!(!old || stuck, "the update ends unless it fits nowhere: {active:#?}");
        }
        for task in view.tasks.values() {
            assert!(view.services.contains_key(&task.service), "{task:#?}");
            assert!(task.is_active() || task.status.state.is_terminal(), "{task:#?}");
        }
    }
}

impl World {
    /// A job at rest: its newest run is complete, or waits for places and says why.
    fn check_done(&self, id: ServiceId) {
        let run = self.cluster.run(id);
        let active = self.cluster.active(id);
        let waits = |task: &&Task| task.node.is_none() && !task.status.error.is_empty();
        match &run.phase {
            RunPhase::Complete => {
                assert_eq!((run.succeeded.count(), active.len()), (run.completions, 0), "{run:?}");
            }
            RunPhase::Active => assert!(active.iter().any(waits), "{run:?} {active:#?}"),
            RunPhase::Failed { reason } => assert!(reason.contains("no node fitted"), "{run:?}"),
            RunPhase::Replaced | RunPhase::Stopped | RunPhase::Skipped { .. } => panic!("{run:?}"),
        }
    }
}

proptest! {
    #![proptest_config(times(2))]

    #[test]
    fn any_history_keeps_the_bounds_and_comes_to_rest_when_the_faults_end(
        steps in vec(step(), 0..60)
    ) {
        let mut world = World { cluster: Cluster::new(3), created: 0 };
        for step in &steps {
            world.take(step);
        }
        world.heal();
        world.check_rest();
    }

    #[test]
    fn tasks_are_spread_evenly_when_all_of_them_fit(
        (nodes, first, second) in (1usize..8, 0u32..20, 0u32..20), spread in any::<bool>(),
    ) {
        let mut cluster = Cluster::new(nodes);
        let mut even = template("ok");
        if spread {
            even.placement.preferences.extend("spread=node.labels.zone".parse().ok());
        }
        let web = cluster.create(spec("web", Some(first), even));
        cluster.settle();
        cluster.scale(web, first.max(second));
        cluster.settle();
        cluster.update(web, |spec| spec.task_template.force_update += 1);
        cluster.settle();
        let mut zones: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (at, node) in cluster.nodes.iter().enumerate() {
            let zone = if spread { at % 2 } else { 0 };
            zones.entry(zone).or_default().push(cluster.running_on(web, *node));
        }
        let even = |counts: &[usize]| {
            counts.iter().max().unwrap_or(&0) - counts.iter().min().unwrap_or(&0) <= 1
        };
        prop_assert!(zones.values().all(|counts| even(counts)), "{zones:?}");
        let sums: Vec<usize> = zones.values().map(|counts| counts.iter().sum()).collect();
        prop_assert!(even(&sums), "{zones:?}");
    }
}
