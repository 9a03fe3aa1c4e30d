//! Moves that people ask for: which tasks they are noted on.

use swarm_model::command::{RELOCATIONS_MAX, Relocation};
use swarm_model::task::Eviction;

use super::*;

/// Service `web` with task 50, which runs on node 1; node 2 is there, too.
fn world() -> Log {
    let mut log = Log::with_cluster();
    log.apply(create(7, "web")).expect("new");
    log.apply(Op::AddNode(new_node(2, Role::Worker))).expect("new");
    assert_eq!(log.plan(new_task(50, 7, Version(2), Some(1))), APPLIED);
    log.apply(report(1, 50, ObservedState::Running)).expect("reported");
    log
}

fn evict(log: &mut Log, task: u128, version: u64, to: u128) -> Outcome {
    let (task, to) = (TaskId::from_raw(task), NodeId::from_raw(to));
    log.apply(Op::Evict { moves: vec![Relocation { task, version: Version(version), to }] })
}

#[test]
fn a_running_task_is_asked_to_move_and_says_where_to() {
    let mut log = world();
    assert_eq!(evict(&mut log, 50, 5, 2), APPLIED);
    let task = log.task(50).clone();
    let at = Timestamp::from_millis(6000);
    assert_eq!(task.eviction, Some(Eviction::Rebalanced { at, to: NodeId::from_raw(2) }));
    assert!(task.is_active() && task.makes_room_for().is_none());
    assert_eq!(evict(&mut log, 50, 6, 2), APPLIED, "it may be asked again");
    let bytes = log.machine.snapshot().expect("small");
    assert_eq!(Machine::restore(&bytes).expect("whole").view(), log.machine.view());
}

#[test]
fn what_is_not_as_it_was_or_cannot_move_is_left_alone() {
    let mut log = world();
    assert_eq!(evict(&mut log, 50, 4, 2), REFUSED, "another version");
    assert_eq!(evict(&mut log, 50, 5, 1), REFUSED, "it is there already");
    assert_eq!(evict(&mut log, 50, 5, 9), REFUSED, "no such node");
    assert_eq!(evict(&mut log, 51, 5, 2), REFUSED, "no such task");
    log.apply(report(1, 50, ObservedState::Failed)).expect("reported");
    let version = log.task(50).meta.version;
    assert_eq!(evict(&mut log, 50, version.0, 2), REFUSED, "it does not run");
    assert_eq!(log.task(50).eviction, None);
}

#[test]
fn too_many_moves_at_once_are_refused() {
    let mut log = world();
    let one =
        Relocation { task: TaskId::from_raw(50), version: Version(5), to: NodeId::from_raw(2) };
    let refused = log.apply(Op::Evict { moves: vec![one; RELOCATIONS_MAX + 1] });
    assert!(matches!(refused, Err(Rejection::Invalid { .. })), "{refused:?}");
    assert_eq!(log.task(50).eviction, None);
}

#[test]
fn tasks_of_jobs_stay_where_they_are() {
    let mut log = world();
    let id = ServiceId::from_raw(8);
    let mut batch = spec("batch", 1);
    batch.mode = ServiceMode::ReplicatedJob { completions: 1, max_concurrent: 0 };
    log.apply(Op::CreateService { id, spec: batch }).expect("new");
    let version = log.machine.view().services[&id].template_version;
    let Decision::CreateTask(new) = new_task(51, 8, version, Some(1)) else {
        unreachable!("that is what it makes")
    };
    let slot = Slot::Job { run: 1, index: 1 };
    assert_eq!(log.plan(Decision::CreateTask(Box::new(NewTask { slot, ..*new }))), APPLIED);
    log.apply(report(1, 51, ObservedState::Running)).expect("reported");
    let version = log.task(51).meta.version;
    assert_eq!(evict(&mut log, 51, version.0, 2), REFUSED);
}
