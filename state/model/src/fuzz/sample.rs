//! Values with something in every field, for the samples of many decoders.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::assignment::{Assignment, AssignmentMessage, Generation};
use crate::cluster::{ClusterSpec, LimitedToken};
use crate::command::{Actor, Command, NewNode, Op, Relocation, StatusReport};
use crate::config::ConfigSpec;
use crate::id::{ClusterId, ConfigId, Incarnation, NodeId, RequestId, ServiceId, TaskId, TokenId};
use crate::job::{JobPolicy, RunPhase};
use crate::meta::{Revision, Term, Version};
use crate::node::{Availability, NodeDescription, NodeSpec, Reachability, Role};
use crate::placement::Placement;
use crate::plan::{Change, NewTask};
use crate::probe::{Check, Health, HealthState, Probe};
use crate::resources::{Limits, ResourceRequirements, Resources};
use crate::restart::{Reschedule, RestartCondition, RestartPolicy, RestartRecord};
use crate::runtime::{ConfigReference, Namespace, ProcessSpec, RuntimeSpec, Signal};
use crate::schedule::{CatchUp, Overlap, ScheduleSpec};
use crate::service::{Priority, ServiceMode, ServiceSpec};
use crate::share::Share;
use crate::task::{ExitStatus, Slot, TaskStatus, TaskTemplate};
use crate::task_state::{DesiredState, ObservedState};
use crate::units::{Bytes, MilliCpu, Timestamp};
use crate::update::{FailureAction, Order, UpdatePolicy, UpdateStep};

const NODE: NodeId = NodeId::from_raw(1);
const SERVICE: ServiceId = ServiceId::from_raw(2);
const TASK: TaskId = TaskId::from_raw(3);
const JOB: ServiceId = ServiceId::from_raw(14);
const CONFIG: ConfigId = ConfigId::from_raw(4);

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("zone".to_owned(), "a".to_owned()), ("ssd".to_owned(), String::new())])
}

fn resources() -> Resources {
    let generic = BTreeMap::from([("device/camera".to_owned(), 1), ("licence".to_owned(), 2)]);
    Resources { cpu: MilliCpu(2000), memory: Bytes(1 << 30), generic }
}

/// What a node says of itself.
pub fn description() -> NodeDescription {
    NodeDescription {
        hostname: "edge-1".to_owned(),
        os: "linux".to_owned(),
        arch: "x86_64".to_owned(),
        resources: resources(),
        version: "0.1.0".to_owned(),
        labels: labels(),
    }
}

/// What tasks are made from.
pub fn template() -> TaskTemplate {
    TaskTemplate {
        runtime: RuntimeSpec::Process(ProcessSpec {
            command: vec!["/bin/sleep".to_owned(), "{{.Task.Slot}}".to_owned()],
            env: BTreeMap::from([("A".to_owned(), "1".to_owned())]),
            user: Some("nobody".to_owned()),
            groups: vec!["7".to_owned()],
            workdir: Some("/tmp".to_owned()),
            hostname: Some("h".to_owned()),
            configs: vec![ConfigReference {
                config: CONFIG,
                name: "app".to_owned(),
                target: "etc/app".to_owned(),
                uid: Some(1),
                gid: None,
                mode: 0o444,
            }],
            namespaces: BTreeSet::from([Namespace::Mount, Namespace::Pid]),
        }),
        resources: ResourceRequirements {
            reservations: resources(),
            limits: Limits { cpu: None, memory: Some(Bytes(1 << 31)), pids: Some(9) },
        },
        restart_policy: RestartPolicy {
            condition: RestartCondition::OnFailure,
            delay_ms: Some(50),
            max_attempts: Some(3),
            window_ms: Some(9000),
            reschedule: Reschedule::Always,
        },
        placement: Placement {
            constraints: "node.labels.zone==a".parse().into_iter().collect(),
            preferences: "spread=node.labels.zone".parse().into_iter().collect(),
            max_replicas_per_node: 2,
        },
        stop_signal: Signal::TERM,
        stop_grace_ms: 10_000,
        force_update: 1,
        health: Some(Probe {
            interval_ms: 2000,
            timeout_ms: 1500,
            retries: 5,
            start_period_ms: 60_000,
            start_interval_ms: 500,
            check: Check::Http { path: "/healthz".to_owned(), port: 8080 },
        }),
        ready: Some(Probe::new(Check::Command(vec!["test".to_owned(), "{{.Task.ID}}".to_owned()]))),
        drain_delay_ms: 700,
    }
}

/// A service.
pub fn service(mode: ServiceMode) -> ServiceSpec {
    let name = "web".parse().expect("is a name");
    let priority = Priority(70);
    let update = UpdatePolicy {
        parallelism: 2,
        delay_ms: 100,
        monitor_ms: 3000,
        failure_action: Some(FailureAction::Rollback),
        max_failure_permille: 250,
        order: Some(Order::StopFirst),
        start_timeout_ms: 60_000,
        canary: Some(Share::Percent(20)),
        auto_promote: true,
    };
    let rollback = UpdatePolicy {
        failure_action: Some(FailureAction::Continue),
        order: Some(Order::StartFirst),
        canary: None,
        auto_promote: false,
        ..update
    };
    let task_template = template();
    ServiceSpec {
        name,
        labels: labels(),
        mode,
        task_template,
        priority,
        update,
        rollback,
        min_available: Some(Share::Percent(50)),
        job: JobPolicy::default(),
        schedule: None,
    }
}

/// A job.
pub fn job() -> ServiceSpec {
    let mode = ServiceMode::ReplicatedJob { completions: 3, max_concurrent: 2 };
    let name = "batch".parse().expect("is a name");
    let job = JobPolicy { deadline_ms: Some(60_000), keep_runs: 5 };
    let update = UpdatePolicy::default();
    let schedule = ScheduleSpec {
        cron: "*/5 9-17 1,15 * mon-fri".parse().expect("is a schedule"),
        time_zone: "Europe/Berlin".to_owned(),
        overlap: Overlap::Replace,
        catch_up: CatchUp::All,
    };
    ServiceSpec {
        name,
        job,
        update,
        rollback: update,
        min_available: None,
        schedule: Some(schedule),
        ..service(mode)
    }
}

/// A config.
pub fn config() -> ConfigSpec {
    let name = "app".parse().expect("is a name");
    ConfigSpec { name, labels: labels(), data: vec![1, 2, 3].into() }
}

/// A task's status.
pub fn status(state: ObservedState) -> TaskStatus {
    TaskStatus {
        state,
        since: Timestamp::from_millis(1_769_860_800_123),
        message: "started".to_owned(),
        error: "exit code 1".to_owned(),
        pid: Some(77),
        exit: Some(ExitStatus { code: Some(1), signal: Some(9), oom_killed: true }),
        health: Some(Health {
            status: HealthState::Unhealthy,
            ready: true,
            message: "exit code 7".to_owned(),
        }),
    }
}

/// What an agent reports.
pub fn report(state: ObservedState) -> StatusReport {
    StatusReport { task: TASK, status: status(state) }
}

/// What a leader tells an agent.
pub fn assignments() -> [AssignmentMessage; 2] {
    let generation = Generation { term: Term(3), sequence: 1 };
    let assignment = Assignment {
        task: TASK,
        service: SERVICE,
        service_name: "web".to_owned(),
        service_labels: labels(),
        slot: Slot::Replica(1),
        template: Arc::new(template()),
        desired: DesiredState::Running,
        node_labels: labels(),
        configs: BTreeMap::from([(CONFIG, Version(7))]),
    };
    [
        AssignmentMessage::Full { generation, tasks: vec![TASK] },
        AssignmentMessage::Delta { generation, changed: vec![assignment], removed: vec![TASK] },
    ]
}

fn new_node(id: NodeId, role: Role) -> NewNode {
    let spec = NodeSpec { role, availability: Availability::Active, labels: labels() };
    let addr = "10.0.0.1:2377".to_owned();
    NewNode { id, spec, description: description(), addr, token: None }
}

/// A task of a job.
fn new_task(id: u128, slot: Slot) -> NewTask {
    NewTask {
        id: TaskId::from_raw(id),
        service: JOB,
        template_version: Version(23),
        slot,
        node: Some(NODE),
        pending: String::new(),
        desired: DesiredState::Running,
        not_before: None,
        restart: RestartRecord::default(),
        voluntary: false,
    }
}

fn changes() -> Vec<Change> {
    let (task, version) = (TASK, Version(9));
    let new = |id, slot, node| NewTask {
        id,
        service: SERVICE,
        template_version: Version(6),
        slot,
        node,
        pending: String::new(),
        desired: DesiredState::Running,
        not_before: Some(Timestamp::from_millis(5)),
        restart: RestartRecord {
            streak: 1,
            attempts: 2,
            window_start: None,
            displaced: true,
            failed_update: Some(Revision(7)),
        },
        voluntary: true,
    };
    let reason = "no node fits".to_owned();
    vec![
        Change::CreateTask(Box::new(new(TASK, Slot::Replica(1), Some(NODE)))),
        Change::CreateTask(Box::new(new(TaskId::from_raw(8), Slot::Node(NODE), None))),
        Change::Assign { task: TaskId::from_raw(8), version, node: NODE },
        Change::Explain { task: TaskId::from_raw(8), version, reason: reason.clone() },
        Change::SetDesired { task, version, desired: DesiredState::Shutdown },
        Change::Orphan { task, version, reason },
        Change::RemoveTask { task, version },
        Change::DeleteService { service: SERVICE, version },
        Change::Preempt { task, version, by: TaskId::from_raw(8) },
        Change::Yield { task, version },
        Change::Update {
            service: SERVICE,
            version,
            step: UpdateStep::Pause { reason: "1 of 2 tasks failed".to_owned() },
        },
        Change::Update {
            service: SERVICE,
            version,
            step: UpdateStep::RollBack { reason: "1 of 2 tasks failed".to_owned() },
        },
        Change::Update {
            service: SERVICE,
            version,
            step: UpdateStep::Complete { reason: String::new() },
        },
        Change::EndRun { service: SERVICE, run: 1, phase: RunPhase::Failed { reason: "x".into() } },
        Change::Update { service: SERVICE, version, step: UpdateStep::Prove { promoted: true } },
    ]
}

/// Every kind of change, in an order in which each finds what it needs.
pub fn ops() -> Vec<Op> {
    let describe = |id, incarnation| Op::DescribeNode {
        id,
        incarnation: Incarnation::from_raw(incarnation),
        description: description(),
        addr: "10.0.0.1:2377".to_owned(),
    };
    let token = LimitedToken {
        secret_sha256: [7; 32],
        role: Role::Worker,
        expires_at: Some(Timestamp::from_millis(1 << 50)),
        uses_left: Some(2),
    };
    let second = NodeId::from_raw(6);
    let spec = |role| NodeSpec { role, availability: Availability::Drain, labels: labels() };
    let version = None;
    let mut ops = vec![
        Op::InitCluster {
            id: ClusterId::from_raw(5),
            spec: ClusterSpec::default(),
            ca_certificate: vec![1, 2, 3],
            node: new_node(NODE, Role::Manager),
        },
        Op::UpdateCluster { version, spec: ClusterSpec::default() },
        describe(NODE, 9),
        Op::CreateConfig { id: CONFIG, spec: config() },
        Op::UpdateConfig { id: CONFIG, version, spec: config() },
        Op::CreateService {
            id: SERVICE,
            spec: Box::new(service(ServiceMode::Replicated { replicas: 3 })),
        },
        Op::UpdateService {
            id: SERVICE,
            version,
            spec: Box::new(service(ServiceMode::Replicated { replicas: 2 })),
            steered: true,
        },
        Op::CreateService {
            id: ServiceId::from_raw(12),
            spec: Box::new(service(ServiceMode::Global {})),
        },
        Op::ApplyPlan { term: Term(1), base: Revision(6), changes: changes() },
        Op::ReportStatus { node: NODE, reports: vec![report(ObservedState::Running)] },
        Op::ReportStatus { node: NODE, reports: vec![report(ObservedState::Failed)] },
        Op::RotateToken { role: Role::Worker },
        Op::CreateToken { id: TokenId::from_raw(13), token },
        Op::AddNode(NewNode {
            token: Some(TokenId::from_raw(13)),
            ..new_node(second, Role::Worker)
        }),
        Op::UpdateNode {
            id: second,
            version,
            spec: spec(Role::Manager),
            drain_deadline: Some(Timestamp::from_millis(9)),
        },
        Op::SetReachability {
            id: NODE,
            incarnation: Incarnation::from_raw(9),
            reachability: Reachability::Down,
            message: "silent".to_owned(),
        },
        Op::RemoveNode { id: second, force: true },
        Op::RemoveService { id: SERVICE },
        Op::RemoveConfig { id: CONFIG },
        Op::RollbackService { id: SERVICE, version: Some(Version(9)), to: Some(Version(7)) },
        Op::PauseUpdate { id: SERVICE, paused: true },
        Op::Evict { moves: vec![Relocation { task: TASK, version: Version(9), to: second }] },
    ];
    ops.extend(later_ops());
    ops
}

/// What came later: jobs, and canaries.
fn later_ops() -> [Op; 5] {
    [
        Op::CreateService { id: JOB, spec: Box::new(job()) },
        Op::ApplyPlan {
            term: Term(1),
            base: Revision(23),
            changes: vec![
                Change::Fire {
                    service: JOB,
                    cursor_was: Timestamp::from_millis(1_769_860_800_123),
                    cursor: Timestamp::from_millis(1_769_860_900_000),
                    due: vec![Timestamp::from_millis(1_769_860_900_000)],
                },
                Change::CreateTask(Box::new(new_task(15, Slot::Job { run: 1, index: 2 }))),
                Change::CreateTask(Box::new(new_task(16, Slot::JobNode { run: 1, node: NODE }))),
            ],
        },
        Op::StopRun { id: JOB, run: Some(1) },
        Op::StartRun { id: JOB },
        Op::PromoteUpdate { id: SERVICE },
    ]
}

/// `op` as it is logged.
pub fn command(op: Op) -> Command {
    Command {
        request: Some(RequestId::from_raw(11)),
        at: Timestamp::from_millis(1_769_860_800_123),
        actor: Actor { node: NODE, uid: Some(0) },
        op,
        if_revision: None,
    }
}
