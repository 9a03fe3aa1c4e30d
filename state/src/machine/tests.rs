//! Behaviour of the state machine: by example, and over random histories.

use std::collections::BTreeMap;

use proptest::prelude::*;
use swarm_model::cluster::ClusterSpec;
use swarm_model::command::{Actor, NewNode, StatusReport};
use swarm_model::config::ConfigSpec;
use swarm_model::id::{ClusterId, ConfigId, Incarnation, NodeId, RequestId, ServiceId, TaskId};
use swarm_model::meta::Version;
use swarm_model::node::{Availability, NodeDescription, NodeSpec, Reachability, Role};
use swarm_model::plan::{Change as Decision, NewTask};
use swarm_model::restart::RestartRecord;
use swarm_model::runtime::{ProcessSpec, RuntimeSpec, Signal};
use swarm_model::service::{ServiceMode, ServiceSpec};
use swarm_model::task::{Slot, TaskStatus, TaskTemplate};
use swarm_model::task_state::{DesiredState, ObservedState};
use swarm_model::update::UpdateStep;

use super::*;

mod evict;
mod guard;
mod jobs;
mod runs;
mod updates;

const TERM: Term = Term(1);

/// A machine with its own log position.
#[derive(Default)]
struct Log {
    machine: Machine,
    next: u64,
    /// What happened.
    events: Vec<Event>,
}

impl Log {
    fn with_cluster() -> Self {
        let mut log = Self::default();
        let op = Op::InitCluster {
            id: ClusterId::from_raw(1),
            spec: ClusterSpec::default(),
            ca_certificate: vec![1, 2, 3],
            node: new_node(1, Role::Manager),
        };
        log.apply(op).expect("first command");
        log
    }

    fn command(&mut self, request: Option<RequestId>, op: Op) -> Outcome {
        self.next += 1;
        let at = Timestamp::from_millis(1000 * self.next);
        let command = Command { request, at, actor: Actor::default(), op, if_revision: None };
        let (outcome, events) = self.machine.apply(Revision(self.next), TERM, &command);
        self.events.extend(events);
        outcome
    }

    fn apply(&mut self, op: Op) -> Outcome {
        self.command(None, op)
    }

    fn plan(&mut self, change: Decision) -> Outcome {
        self.apply(Op::ApplyPlan { term: TERM, base: Revision(self.next), changes: vec![change] })
    }

    fn task(&self, id: u128) -> &swarm_model::task::Task {
        self.machine.view().tasks.get(&TaskId::from_raw(id)).expect("exists")
    }
}

fn new_node(id: u128, role: Role) -> NewNode {
    NewNode {
        id: NodeId::from_raw(id),
        spec: NodeSpec { role, availability: Availability::Active, labels: BTreeMap::new() },
        description: NodeDescription { hostname: format!("n{id}"), ..Default::default() },
        addr: format!("127.0.0.{id}:2377"),
        token: None,
    }
}

fn spec(name: &str, replicas: u32) -> Box<ServiceSpec> {
    let process = ProcessSpec { command: vec!["sleep".into(), "1".into()], ..Default::default() };
    Box::new(ServiceSpec {
        name: name.parse().expect("valid"),
        labels: BTreeMap::new(),
        mode: ServiceMode::Replicated { replicas },
        task_template: TaskTemplate {
            runtime: RuntimeSpec::Process(process),
            resources: Default::default(),
            restart_policy: Default::default(),
            placement: Default::default(),
            stop_signal: Signal::TERM,
            stop_grace_ms: 10_000,
            force_update: 0,
            health: None,
            ready: None,
            drain_delay_ms: 0,
        },
        priority: Default::default(),
        update: Default::default(),
        job: Default::default(),
        schedule: None,
        rollback: Default::default(),
        min_available: None,
    })
}

fn create(id: u128, name: &str) -> Op {
    Op::CreateService { id: ServiceId::from_raw(id), spec: spec(name, 1) }
}

fn new_task(id: u128, service: u128, version: Version, node: Option<u128>) -> Decision {
    Decision::CreateTask(Box::new(NewTask {
        id: TaskId::from_raw(id),
        service: ServiceId::from_raw(service),
        template_version: version,
        slot: Slot::Replica(1),
        node: node.map(NodeId::from_raw),
        pending: String::new(),
        desired: DesiredState::Running,
        not_before: None,
        restart: RestartRecord::default(),
        voluntary: false,
    }))
}

fn report(node: u128, task: u128, state: ObservedState) -> Op {
    let status = TaskStatus::new(state, Timestamp::default(), "");
    let reports = vec![StatusReport { task: TaskId::from_raw(task), status }];
    Op::ReportStatus { node: NodeId::from_raw(node), reports }
}

const APPLIED: Outcome = Ok(Done::Plan { applied: 1, refused: 0 });
const REFUSED: Outcome = Ok(Done::Plan { applied: 0, refused: 1 });

#[test]
fn a_retried_request_is_answered_again_not_applied_again() {
    let mut log = Log::with_cluster();
    let request = Some(RequestId::from_raw(5));
    let first = log.command(request, create(7, "web"));
    assert_eq!(first, Ok(Done::Service(ServiceId::from_raw(7), Version(2))));
    assert_eq!(log.command(request, create(8, "other")), first);
    assert_eq!(log.machine.view().services.len(), 1);
}

#[test]
fn issue_3_a_repeated_request_is_answered_with_the_revision_of_its_change() {
    let mut log = Log::with_cluster();
    let command = Command {
        request: Some(RequestId::from_raw(5)),
        at: Timestamp::from_millis(5000),
        actor: Actor::default(),
        op: create(7, "web"),
        if_revision: None,
    };
    log.machine.apply(Revision(5), TERM, &command).0.expect("a new name");
    log.machine.apply(Revision(9), TERM, &command).0.expect("the same answer");
    assert_eq!(log.machine.applied_at(&command), Some(Revision(5)));
    let bytes = log.machine.snapshot().expect("small");
    let restored = Machine::restore(&bytes).expect("whole");
    assert_eq!(restored.applied_at(&command), Some(Revision(5)), "a snapshot keeps it");
}

#[test]
fn issue_3_a_retry_is_known_whatever_the_leaders_clocks_say() {
    let mut log = Log::with_cluster();
    let (request, day) = (Some(RequestId::from_raw(5)), 24 * 3600 * 1000);
    let first = log.command(request, create(7, "web"));
    // A leader that is ten days ahead, one that is right again, one that is as far behind.
    for (number, at) in [(1, 20 * day), (2, 10 * day), (3, 0)] {
        let command = Command {
            request: Some(RequestId::from_raw(100 + number)),
            at: Timestamp::from_millis(at),
            actor: Actor::default(),
            op: Op::RemoveConfig { id: ConfigId::from_raw(1) },
            if_revision: None,
        };
        log.next += 1;
        drop(log.machine.apply(Revision(log.next), TERM, &command));
        assert_eq!(log.command(request, create(8, "other")), first);
    }
    assert_eq!(log.machine.view().services.len(), 1);
}

#[test]
fn names_are_unique_and_free_again_after_removal() {
    let mut log = Log::with_cluster();
    log.apply(create(7, "web")).expect("new name");
    assert!(matches!(log.apply(create(8, "web")), Err(Rejection::NameTaken { .. })));
    log.apply(Op::RemoveService { id: ServiceId::from_raw(7) }).expect("exists");
    log.apply(create(9, "web")).expect("name is free while the old tasks end");
    let gone = log.apply(Op::RemoveService { id: ServiceId::from_raw(7) });
    assert!(matches!(gone, Err(Rejection::NotFound { .. })));
}

#[test]
fn of_two_updates_on_one_version_the_second_is_refused() {
    let mut log = Log::with_cluster();
    log.apply(create(7, "web")).expect("new");
    let update = |replicas| Op::UpdateService {
        id: ServiceId::from_raw(7),
        version: Some(Version(2)),
        spec: spec("web", replicas),
        steered: true,
    };
    assert_eq!(log.apply(update(3)), Ok(Done::Service(ServiceId::from_raw(7), Version(3))));
    assert!(matches!(log.apply(update(4)), Err(Rejection::VersionConflict { .. })));
    let service = log.machine.view().service_named(&"web".parse().expect("valid")).expect("there");
    assert_eq!(service.template_version, Version(2), "scaling does not replace tasks");
}

#[test]
fn name_and_mode_never_change() {
    let mut log = Log::with_cluster();
    log.apply(create(7, "web")).expect("new");
    let id = ServiceId::from_raw(7);
    let renamed = Op::UpdateService { id, version: None, spec: spec("other", 1), steered: true };
    assert!(matches!(log.apply(renamed), Err(Rejection::Invalid { .. })));
    let mut global = spec("web", 1);
    global.mode = ServiceMode::Global {};
    let remoded = Op::UpdateService { id, version: None, spec: global, steered: true };
    assert!(matches!(log.apply(remoded), Err(Rejection::Invalid { .. })));
}

#[test]
fn observed_state_never_goes_back_and_only_its_node_reports_it() {
    let mut log = Log::with_cluster();
    log.apply(create(7, "web")).expect("new");
    assert_eq!(log.plan(new_task(50, 7, Version(2), Some(1))), APPLIED);
    log.apply(report(1, 50, ObservedState::Running)).expect("reported");
    log.apply(report(1, 50, ObservedState::Preparing)).expect("ignored");
    log.apply(report(2, 50, ObservedState::Failed)).expect("ignored");
    assert_eq!(log.task(50).status.state, ObservedState::Running);
    log.apply(report(1, 50, ObservedState::Failed)).expect("reported");
    log.apply(report(1, 50, ObservedState::Orphaned)).expect("ignored: ended is ended");
    assert_eq!(log.task(50).status.state, ObservedState::Failed);
}

#[test]
fn a_stale_plan_is_refused_change_by_change() {
    let mut log = Log::with_cluster();
    log.apply(create(7, "web")).expect("new");
    assert_eq!(log.plan(new_task(50, 7, Version(1), Some(1))), REFUSED, "old template");
    assert_eq!(log.plan(new_task(50, 7, Version(2), Some(9))), REFUSED, "unknown node");
    assert_eq!(log.plan(new_task(50, 7, Version(2), None)), APPLIED);
    assert_eq!(log.plan(new_task(50, 7, Version(2), None)), REFUSED, "known task");
    let version = log.task(50).meta.version;
    let assign = |version| Decision::Assign {
        task: TaskId::from_raw(50),
        version,
        node: NodeId::from_raw(1),
    };
    assert_eq!(log.plan(assign(Version(1))), REFUSED);
    assert_eq!(log.plan(assign(version)), APPLIED);
    let version = log.task(50).meta.version;
    assert_eq!(log.plan(assign(version)), REFUSED, "a task's node never changes");
}

#[test]
fn a_plan_of_another_term_changes_nothing() {
    let mut log = Log::with_cluster();
    let stale = Op::ApplyPlan { term: Term(9), base: Revision(0), changes: Vec::new() };
    assert!(matches!(log.apply(stale), Err(Rejection::StaleTerm { .. })));
}

#[test]
fn two_plans_from_one_view_do_not_fill_a_slot_twice() {
    let mut log = Log::with_cluster();
    log.apply(create(10, "web")).expect("new");
    let id = ServiceId::from_raw(10);
    let version = log.machine.view().services.get(&id).expect("exists").template_version;
    let base = Revision(log.next);
    let plan = |changes| Op::ApplyPlan { term: TERM, base, changes };
    assert_eq!(log.apply(plan(vec![new_task(50, 10, version, None)])), APPLIED);
    assert_eq!(log.apply(plan(vec![new_task(51, 10, version, None)])), REFUSED);
    // A plan made from a newer view knows what is in the slot.
    assert_eq!(log.plan(new_task(52, 10, version, None)), APPLIED);
}

#[test]
fn the_last_manager_stays() {
    let mut log = Log::with_cluster();
    log.apply(Op::AddNode(new_node(2, Role::Worker))).expect("new");
    let id = NodeId::from_raw(1);
    let demote = Op::UpdateNode {
        id,
        version: None,
        spec: new_node(1, Role::Worker).spec,
        drain_deadline: None,
    };
    assert!(matches!(log.apply(demote), Err(Rejection::LastManager { .. })));
    let remove = Op::RemoveNode { id, force: true };
    assert!(matches!(log.apply(remove), Err(Rejection::LastManager { .. })));
}

#[test]
fn a_removed_node_never_comes_back() {
    let mut log = Log::with_cluster();
    log.apply(Op::AddNode(new_node(2, Role::Worker))).expect("new");
    let id = NodeId::from_raw(2);
    let not_down = log.apply(Op::RemoveNode { id, force: false });
    assert!(matches!(not_down, Err(Rejection::NodeNotDown { .. })));
    log.apply(Op::RemoveNode { id, force: true }).expect("forced");
    let again = log.apply(Op::AddNode(new_node(2, Role::Worker)));
    assert!(matches!(again, Err(Rejection::NameTaken { .. })));
}

#[test]
fn news_about_an_earlier_life_of_a_node_is_ignored() {
    let mut log = Log::with_cluster();
    let id = NodeId::from_raw(1);
    let describe = Op::DescribeNode {
        id,
        incarnation: Incarnation::from_raw(2),
        description: NodeDescription::default(),
        addr: "127.0.0.1:9".into(),
    };
    log.apply(describe).expect("member");
    let down = |life| Op::SetReachability {
        id,
        incarnation: Incarnation::from_raw(life),
        reachability: Reachability::Down,
        message: "silent".into(),
    };
    log.apply(down(1)).expect("ignored");
    assert_eq!(log.machine.view().nodes[&id].status.reachability, Reachability::Ready);
    log.apply(down(2)).expect("taken");
    assert_eq!(log.machine.view().nodes[&id].status.reachability, Reachability::Down);
}

#[test]
fn a_config_in_use_stays() {
    let mut log = Log::with_cluster();
    let id = ConfigId::from_raw(3);
    let config = ConfigSpec {
        name: "motd".parse().expect("valid"),
        labels: BTreeMap::new(),
        data: b"hello".to_vec().into(),
    };
    let mut user = spec("web", 1);
    let RuntimeSpec::Process(process) = &mut user.task_template.runtime;
    process.configs.push(swarm_model::runtime::ConfigReference {
        config: id,
        name: "motd".into(),
        target: "motd".into(),
        uid: None,
        gid: None,
        mode: 0o444,
    });
    let service = ServiceId::from_raw(7);
    let create = Op::CreateService { id: service, spec: user };
    assert!(matches!(log.apply(create.clone()), Err(Rejection::Invalid { .. })), "no such config");
    log.apply(Op::CreateConfig { id, spec: config }).expect("new");
    log.apply(create).expect("config exists");
    assert!(matches!(log.apply(Op::RemoveConfig { id }), Err(Rejection::InUse { .. })));
    log.apply(Op::RemoveService { id: service }).expect("exists");
    log.apply(Op::RemoveConfig { id }).expect("free");
}

fn any_state() -> impl Strategy<Value = ObservedState> {
    prop::sample::select(vec![
        ObservedState::Accepted,
        ObservedState::Running,
        ObservedState::Complete,
        ObservedState::Failed,
    ])
}

fn any_op() -> impl Strategy<Value = Op> {
    let small = || 1u128..5;
    let task = || 50u128..55;
    let version = || (1u64..40).prop_map(Version);
    prop_oneof![
        (small(), "[a-c]").prop_map(|(id, name)| create(id, &name)),
        small().prop_map(|id| Op::RemoveService { id: ServiceId::from_raw(id) }),
        (small(), "[a-c]", 0u32..4).prop_map(|(id, name, replicas)| Op::UpdateService {
            id: ServiceId::from_raw(id),
            version: None,
            spec: spec(&name, replicas),
            steered: replicas > 0,
        }),
        (small(), small(), 1u64..4).prop_map(|(id, word, force)| {
            let mut spec = spec(["a", "b", "c", "a"][word as usize % 4], 1);
            spec.task_template.force_update = force;
            let id = ServiceId::from_raw(id);
            Op::UpdateService { id, version: None, spec, steered: true }
        }),
        (small(), prop::option::of(version())).prop_map(|(id, to)| {
            Op::RollbackService { id: ServiceId::from_raw(id), version: None, to }
        }),
        (small(), any::<bool>())
            .prop_map(|(id, paused)| { Op::PauseUpdate { id: ServiceId::from_raw(id), paused } }),
        small().prop_map(|id| Op::PromoteUpdate { id: ServiceId::from_raw(id) }),
        (small(), version(), task(), 0u8..4).prop_map(|(service, version, task, step)| {
            let (service, task) = (ServiceId::from_raw(service), TaskId::from_raw(task));
            let reason = "because".to_owned();
            let step = match step {
                0 => UpdateStep::Pause { reason },
                1 => UpdateStep::RollBack { reason },
                2 => UpdateStep::Prove { promoted: version.0 % 2 == 0 },
                _ => UpdateStep::Complete { reason },
            };
            let changes = vec![
                Decision::Yield { task, version },
                Decision::Update { service, version, step },
            ];
            Op::ApplyPlan { term: TERM, base: Revision(30), changes }
        }),
        small().prop_map(|id| Op::AddNode(new_node(id, Role::Worker))),
        small().prop_map(|id| Op::RemoveNode { id: NodeId::from_raw(id), force: true }),
        (small(), task(), any_state()).prop_map(|(node, task, state)| report(node, task, state)),
        (task(), small(), version(), prop::option::of(small())).prop_map(
            |(task, service, version, node)| Op::ApplyPlan {
                term: TERM,
                base: Revision(0),
                changes: vec![new_task(task, service, version, node)],
            }
        ),
        (task(), version(), small()).prop_map(|(task, version, node)| Op::ApplyPlan {
            term: TERM,
            base: Revision(0),
            changes: vec![
                Decision::Assign {
                    task: TaskId::from_raw(task),
                    version,
                    node: NodeId::from_raw(node),
                },
                Decision::RemoveTask { task: TaskId::from_raw(task + 1), version },
            ],
        }),
    ]
}

proptest! {
    #[test]
    fn every_history_is_deterministic_and_survives_a_snapshot(
        ops in prop::collection::vec(any_op(), 1..60),
        cut in 0usize..60,
    ) {
        let mut straight = Log::with_cluster();
        let mut restored = Log::with_cluster();
        for (index, op) in ops.into_iter().enumerate() {
            if index == cut {
                let bytes = restored.machine.snapshot().expect("small");
                restored.machine = Machine::restore(&bytes).expect("just written");
            }
            let before = straight.machine.view().clone();
            prop_assert_eq!(straight.apply(op.clone()), restored.apply(op));
            let after = straight.machine.view();
            for (id, old) in &before.tasks {
                if let Some(new) = after.tasks.get(id) {
                    prop_assert!(new.status.state >= old.status.state);
                    prop_assert!(new.desired >= old.desired);
                    prop_assert!(old.node.is_none() || new.node == old.node);
                }
            }
        }
        prop_assert_eq!(straight.machine.view(), restored.machine.view());
        prop_assert_eq!(
            straight.machine.snapshot().expect("small"),
            restored.machine.snapshot().expect("small")
        );
    }
}

#[test]
fn what_nodes_say_of_themselves_and_their_tasks_is_bounded() {
    let mut log = Log::with_cluster();
    let refused = |outcome: Outcome| match outcome {
        Err(Rejection::Invalid { error, .. }) => error.field,
        other => panic!("not refused: {other:?}"),
    };
    let describe = |description: NodeDescription, addr: &str| Op::DescribeNode {
        id: NodeId::from_raw(1),
        incarnation: Incarnation::from_raw(5),
        description,
        addr: addr.to_owned(),
    };
    let hostname = "x".repeat(swarm_model::node::HOSTNAME_MAX + 1);
    let long = NodeDescription { hostname, ..NodeDescription::default() };
    assert_eq!(refused(log.apply(describe(long.clone(), "a:1"))), "Description.Hostname");
    let labels: BTreeMap<_, _> = (0..1000).map(|n| (n.to_string(), String::new())).collect();
    let many = NodeDescription { labels, ..NodeDescription::default() };
    assert_eq!(refused(log.apply(describe(many, "a:1"))), "Description.Labels");
    let addr = "1".repeat(swarm_model::node::ADDR_MAX + 1);
    assert_eq!(refused(log.apply(describe(NodeDescription::default(), &addr))), "Status.Addr");
    let joining = NewNode { description: long, ..new_node(2, Role::Worker) };
    assert_eq!(refused(log.apply(Op::AddNode(joining))), "Description.Hostname");
    assert_eq!(log.machine.view().nodes.len(), 1);
    let text = "x".repeat(swarm_model::task::STATUS_TEXT_MAX + 1);
    let status = TaskStatus::new(ObservedState::Running, Timestamp::default(), &text);
    let report = StatusReport { task: TaskId::from_raw(1), status };
    let reports = |reports| Op::ReportStatus { node: NodeId::from_raw(1), reports };
    assert_eq!(refused(log.apply(reports(vec![report.clone()]))), "Status.Message");
    let short = StatusReport { status: report.status.shortened(), ..report };
    let most = swarm_model::command::REPORTS_MAX;
    log.apply(reports(vec![short.clone(); most])).expect("as many as may be");
    assert_eq!(refused(log.apply(reports(vec![short; most + 1]))), "Reports");
}

#[test]
fn a_task_makes_room_only_for_one_that_waits() {
    let mut log = Log::with_cluster();
    log.apply(create(1, "batch")).expect("new");
    let version = Version(log.next);
    let mut important = spec("web", 1);
    important.priority.0 = 80;
    log.apply(Op::CreateService { id: ServiceId::from_raw(2), spec: important }).expect("new");
    let important = Version(log.next);
    let second = |mut change: Decision, slot| {
        if let Decision::CreateTask(new) = &mut change {
            new.slot = Slot::Replica(slot);
        }
        change
    };
    let node = log.machine.view().nodes.keys().next().map(|id| id.raw());
    let changes = vec![
        new_task(1, 1, version, node),
        new_task(2, 2, important, None),
        second(new_task(3, 1, version, node), 3),
        second(new_task(4, 1, version, None), 4),
    ];
    log.apply(Op::ApplyPlan { term: TERM, base: Revision(log.next), changes }).expect("taken");
    let view = log.machine.view();
    assert!(view.waiting.iter().eq([&TaskId::from_raw(2), &TaskId::from_raw(4)]));
    assert_eq!(view.usage.values().map(|usage| usage.tasks).sum::<u32>(), 2);
    let version = Version(log.next);
    let preempt = |task, by| Decision::Preempt {
        task: TaskId::from_raw(task),
        version,
        by: TaskId::from_raw(by),
    };
    // By one that has a node, by itself, by one that is no more important; then as it should be.
    let changes = vec![preempt(1, 3), preempt(2, 2), preempt(1, 4), preempt(1, 2)];
    let base = Revision(log.next);
    let done = log.apply(Op::ApplyPlan { term: TERM, base, changes });
    assert_eq!(done, Ok(Done::Plan { applied: 1, refused: 3 }));
    // Another plan that was made from the same view.
    let changes = vec![preempt(3, 2)];
    assert_eq!(log.apply(Op::ApplyPlan { term: TERM, base, changes }), REFUSED);
    let pair = (TaskId::from_raw(2), TaskId::from_raw(1));
    assert!(log.machine.view().making_room.iter().eq([&pair]));
    assert_eq!(log.task(1).desired, DesiredState::Shutdown);
    log.apply(report(node.expect("there is one"), 1, ObservedState::Shutdown)).expect("taken");
    let view = log.machine.view();
    assert!(view.making_room.is_empty());
    assert_eq!(view.usage.values().map(|usage| usage.tasks).sum::<u32>(), 1);
}
