//! `if_revision`: what counts as a change since then, and that everybody finds the same.

use std::time::Duration;

use swarm_model::schedule::{CatchUp, Overlap, ScheduleSpec};
use swarm_model::update::UpdateStep;

use super::*;

/// `op` as somebody asks for it who saw `revision`.
fn guarded(log: &mut Log, revision: u64, op: Op) -> Outcome {
    log.next += 1;
    let at = Timestamp::from_millis(1000 * log.next);
    let if_revision = Some(Revision(revision));
    let command = Command { request: None, at, actor: Actor::default(), op, if_revision };
    log.machine.apply(Revision(log.next), TERM, &command).0
}

fn conflict(have: u64, given: u64) -> Outcome {
    Err(Rejection::RevisionConflict { have: Revision(have), given: Revision(given) })
}

/// Service `web` (revision 2) with a task (3) that runs (4), and a config (5).
fn world() -> Log {
    let mut log = Log::with_cluster();
    log.apply(create(7, "web")).expect("new");
    assert_eq!(log.plan(new_task(50, 7, Version(2), Some(1))), APPLIED);
    log.apply(report(1, 50, ObservedState::Running)).expect("reported");
    log.apply(config(1, b"one")).expect("new");
    log
}

fn config(id: u128, data: &[u8]) -> Op {
    let name = format!("c{id}").parse().expect("valid");
    let spec = ConfigSpec { name, labels: BTreeMap::new(), data: data.to_vec().into() };
    Op::CreateConfig { id: ConfigId::from_raw(id), spec }
}

fn scaled(replicas: u32) -> Op {
    let spec = spec("web", replicas);
    Op::UpdateService { id: ServiceId::from_raw(7), version: None, spec, steered: true }
}

#[test]
fn a_change_is_refused_when_specs_changed_since_and_changes_nothing() {
    let mut log = world();
    assert_eq!(guarded(&mut log, 4, scaled(2)), conflict(5, 4));
    assert_eq!(log.machine.view().services[&ServiceId::from_raw(7)].meta.version, Version(2));
    guarded(&mut log, 5, scaled(2)).expect("nothing changed since");
    assert_eq!(guarded(&mut log, 6, scaled(3)), conflict(7, 6));
    guarded(&mut log, 7, scaled(3)).expect("one's own change was the last");
}

#[test]
fn what_tasks_do_does_not_count() {
    let mut log = world();
    guarded(&mut log, 5, scaled(2)).expect("nothing changed since");
    assert_eq!(log.plan(new_task(51, 7, Version(2), Some(1))), APPLIED);
    log.apply(report(1, 50, ObservedState::Failed)).expect("reported");
    let version = log.task(50).meta.version;
    let task = TaskId::from_raw(50);
    assert_eq!(log.plan(Decision::RemoveTask { task, version }), APPLIED);
    log.apply(Op::RotateToken { role: Role::Worker }).expect("there is a cluster");
    guarded(&mut log, 6, scaled(3)).expect("no spec changed");
}

#[test]
fn each_change_of_specs_nodes_and_configs_counts() {
    let node = NodeId::from_raw(2);
    let node_spec =
        NodeSpec { role: Role::Worker, availability: Availability::Drain, labels: BTreeMap::new() };
    let describe = NodeDescription::default();
    let all = [
        Op::AddNode(new_node(2, Role::Worker)),
        Op::UpdateNode { id: node, version: None, spec: node_spec, drain_deadline: None },
        Op::DescribeNode {
            id: node,
            incarnation: Incarnation::from_raw(3),
            description: describe,
            addr: "127.0.0.2:1".to_owned(),
        },
        Op::SetReachability {
            id: node,
            incarnation: Incarnation::from_raw(3),
            reachability: Reachability::Down,
            message: String::new(),
        },
        Op::RemoveNode { id: node, force: false },
        create(8, "other"),
        scaled(4),
        Op::RollbackService { id: ServiceId::from_raw(7), version: None, to: None },
        Op::RemoveService { id: ServiceId::from_raw(8) },
        config(2, b"two"),
        Op::RemoveConfig { id: ConfigId::from_raw(2) },
        Op::UpdateCluster {
            version: None,
            spec: ClusterSpec { task_history_limit: 2, ..ClusterSpec::default() },
        },
    ];
    let mut log = world();
    guarded(&mut log, 5, scaled(2)).expect("nothing changed since");
    for op in all {
        let seen = log.next;
        log.apply(op.clone()).unwrap_or_else(|refused| panic!("{op:?}: {refused}"));
        assert_eq!(guarded(&mut log, seen, scaled(9)), conflict(seen + 1, seen), "{op:?}");
        let same = log.apply(op.clone());
        if same.is_ok() && !matches!(op, Op::RollbackService { .. } | Op::UpdateCluster { .. }) {
            let refused = guarded(&mut log, seen, scaled(9));
            assert_eq!(refused, conflict(seen + 1, seen), "the same once more is none: {op:?}");
        }
    }
}

/// A cluster with a scheduled job, and the decision on its next due time.
fn scheduled(log: &mut Log, id: ServiceId) -> Decision {
    let mut batch = spec("batch", 1);
    batch.mode = ServiceMode::ReplicatedJob { completions: 1, max_concurrent: 0 };
    batch.schedule = Some(ScheduleSpec {
        cron: "@daily".parse().expect("is a schedule"),
        time_zone: "UTC".to_owned(),
        overlap: Overlap::default(),
        catch_up: CatchUp::default(),
    });
    log.apply(Op::CreateService { id, spec: batch }).expect("is valid");
    let cursor_was = log.machine.view().services[&id].schedule.expect("it has one").cursor;
    let cursor = cursor_was.after(Duration::from_secs(60));
    Decision::Fire { service: id, cursor_was, cursor, due: vec![cursor] }
}

#[test]
fn runs_that_people_start_and_stop_count_and_those_of_schedules_do_not() {
    let (mut log, id) = (world(), ServiceId::from_raw(8));
    let fire = scheduled(&mut log, id);
    let seen = log.next;
    guarded(&mut log, seen, scaled(2)).expect("nothing changed since");
    assert_eq!(log.plan(fire), APPLIED);
    guarded(&mut log, seen + 1, scaled(3)).expect("a schedule does what it was told to");
    for op in [Op::StopRun { id, run: None }, Op::StartRun { id }] {
        let seen = log.next;
        log.apply(op.clone()).unwrap_or_else(|refused| panic!("{op:?}: {refused}"));
        assert_eq!(guarded(&mut log, seen, scaled(9)), conflict(seen + 1, seen), "{op:?}");
    }
}

#[test]
fn what_a_schedule_does_meets_neither_the_first_guard_nor_a_version() {
    let (mut log, id) = (world(), ServiceId::from_raw(8));
    let fire = scheduled(&mut log, id);
    let seen = log.next;
    let version = log.machine.view().services[&id].meta.version;
    assert_eq!(log.plan(fire), APPLIED);
    guarded(&mut log, seen, scaled(3)).expect("nobody changed anything since");
    let spec = Box::new((*log.machine.view().services[&id].spec).clone());
    let update = Op::UpdateService { id, version: Some(version), spec, steered: true };
    log.apply(update).expect("it is what it was");
}

#[test]
fn an_update_that_stops_counts_and_one_that_is_completed_does_not() {
    let stepped = |step: UpdateStep| {
        let mut log = world();
        let mut spec = spec("web", 1);
        spec.task_template.force_update = 1;
        let id = ServiceId::from_raw(7);
        let op = Op::UpdateService { id, version: None, spec, steered: true };
        guarded(&mut log, 5, op).expect("nothing changed since");
        let version = log.machine.view().services[&id].meta.version;
        assert_eq!(log.plan(Decision::Update { service: id, version, step }), APPLIED);
        guarded(&mut log, 6, scaled(3))
    };
    let because = || "1 of 1 tasks failed".to_owned();
    assert_eq!(stepped(UpdateStep::Pause { reason: because() }), conflict(7, 6));
    assert_eq!(stepped(UpdateStep::RollBack { reason: because() }), conflict(7, 6));
    stepped(UpdateStep::Complete { reason: String::new() }).expect("all is as it was asked for");
}

#[test]
fn a_revision_that_is_still_to_come_is_no_excuse() {
    let mut log = world();
    let refused = guarded(&mut log, 1 << 40, scaled(2));
    assert_eq!(refused, conflict(5, 1 << 40));
    let text = refused.expect_err("is refused").to_string();
    assert!(text.contains("there is no revision") && text.contains("`swarm plan`"), "{text}");
    let own = log.next + 1;
    assert_eq!(guarded(&mut log, own, scaled(2)), conflict(5, own));
}

#[test]
fn a_replica_that_began_with_an_older_snapshot_finds_the_same() {
    let mut log = world();
    let early = Machine::restore(&log.machine.snapshot().expect("small")).expect("whole");
    assert_eq!(early.view().intent, Revision(0), "nobody asked for it yet");
    let mut other = Log { machine: early, next: log.next, ..Log::default() };
    for log in [&mut log, &mut other] {
        assert_eq!(guarded(log, 4, scaled(2)), conflict(5, 4));
        log.apply(Op::RemoveConfig { id: ConfigId::from_raw(1) }).expect("nobody uses it");
    }
    assert_eq!(log.machine.view(), other.machine.view());
    let late = Machine::restore(&log.machine.snapshot().expect("small")).expect("whole");
    assert_eq!(late.view(), log.machine.view());
    assert_eq!(
        guarded(&mut Log { machine: late, next: log.next, ..Log::default() }, 6, scaled(2)),
        conflict(7, 6)
    );
}

#[test]
fn a_retry_gets_its_answer_though_its_own_change_came_after() {
    let mut log = world();
    let command = Command {
        request: Some(RequestId::from_raw(5)),
        at: Timestamp::from_millis(9000),
        actor: Actor::default(),
        op: scaled(2),
        if_revision: Some(Revision(5)),
    };
    let first = log.machine.apply(Revision(6), TERM, &command).0;
    assert!(first.is_ok(), "{first:?}");
    assert_eq!(log.machine.apply(Revision(7), TERM, &command).0, first);
}
