//! Ends and restarts within the cluster; the delays themselves are tested in `restart`.

use std::time::Duration;

use swarm_model::restart::{RestartCondition, RestartPolicy};
use swarm_model::task_state::{DesiredState, ObservedState};
use swarm_model::units::Timestamp;

use crate::testing::{Cluster, spec, template};

#[test]
fn a_crash_is_followed_by_a_replacement_in_the_next_round() {
    let mut cluster = Cluster::new(2);
    let web = cluster.create(spec("web", Some(1), template("ok")));
    cluster.settle();
    let crashed = cluster.running(web)[0].clone();
    cluster.report(crashed.id, ObservedState::Failed);
    cluster.round();
    let next = cluster.active(web)[0].clone();
    assert_eq!((next.slot, next.desired), (crashed.slot, DesiredState::Running));
    assert_eq!((next.restart.streak, next.restart.attempts), (1, 1));
    assert!(next.node.is_some());
    assert_eq!(cluster.view().tasks[&crashed.id].desired, DesiredState::Shutdown);
}

#[test]
fn a_crash_loop_waits_longer_and_longer_and_keeps_a_bounded_history() {
    let mut cluster = Cluster::new(1);
    let web = cluster.create(spec("web", Some(1), template("fail")));
    let mut waits = Vec::new();
    for _ in 0..12 {
        cluster.settle_now();
        let task = cluster.active(web)[0].clone();
        assert_eq!(task.desired, DesiredState::Ready);
        assert_eq!(cluster.wake_at, task.not_before);
        let until = cluster.wake_at.expect("a delay runs");
        waits.push(until.since(cluster.now));
        cluster.now = until;
    }
    assert!(waits.windows(2).take(8).all(|pair| pair[0] < pair[1]), "{waits:?}");
    assert!(waits[11] >= Duration::from_secs(24), "{waits:?}");
    assert!(cluster.view().tasks_of(web).count() <= 6);
}

#[test]
fn delays_survive_a_new_leader_whose_clock_is_behind() {
    let mut cluster = Cluster::new(1);
    let web = cluster.create(spec("web", Some(1), template("fail")));
    cluster.settle_now();
    cluster.now = cluster.wake_at.expect("a delay runs");
    cluster.settle_now();
    cluster.lead_anew(Timestamp::from_millis(1));
    for streak in 3..8 {
        cluster.settle_now();
        // The delay set by the clock ahead has ended; the next one is the new leader's own.
        let task = cluster.active(web)[0].clone();
        assert_eq!((task.desired, task.restart.streak), (DesiredState::Ready, streak + 1));
        cluster.now = cluster.wake_at.expect("a delay runs");
    }
}

#[test]
fn a_finished_slot_stays_finished_until_the_service_is_updated() {
    let mut cluster = Cluster::new(2);
    let mut once = template("once");
    once.restart_policy.condition = RestartCondition::OnFailure;
    let job = cluster.create(spec("job", Some(3), once));
    cluster.settle();
    assert_eq!(cluster.view().tasks_of(job).count(), 3);
    let complete = |state| state == ObservedState::Complete;
    assert!(cluster.view().tasks_of(job).all(|task| complete(task.status.state)));
    cluster.scale(job, 4);
    cluster.settle();
    assert_eq!(cluster.view().tasks_of(job).count(), 4);
    cluster.update(job, |spec| spec.task_template.force_update += 1);
    cluster.settle();
    assert_eq!(cluster.view().tasks_of(job).count(), 8);
    cluster.scale(job, 1);
    cluster.settle();
    assert_eq!(cluster.view().tasks_of(job).count(), 2);
}

#[test]
fn attempts_are_counted_across_tasks() {
    let mut cluster = Cluster::new(2);
    let mut bad = template("fail");
    bad.restart_policy = RestartPolicy { max_attempts: Some(2), ..RestartPolicy::default() };
    let web = cluster.create(spec("web", Some(1), bad));
    cluster.settle();
    assert_eq!(cluster.view().tasks_of(web).count(), 3, "one and two restarts");
    assert!(cluster.active(web).is_empty());
}

#[test]
fn a_node_that_rejects_a_task_is_avoided_next_time() {
    let mut cluster = Cluster::new(3);
    let web = cluster.create(spec("web", Some(1), template("ok")));
    cluster.round();
    let first = cluster.active(web)[0].clone();
    cluster.report(first.id, ObservedState::Rejected);
    cluster.round();
    assert_ne!(cluster.active(web)[0].node, first.node);
}

#[test]
fn a_node_where_tasks_fail_again_and_again_is_the_last_choice() {
    let mut cluster = Cluster::new(2);
    let bad = cluster.nodes[0];
    let web = cluster.create(spec("web", Some(2), template("ok")));
    cluster.settle();
    let mut failures = 0;
    while cluster.running_on(web, bad) > 0 && failures < 20 {
        let task = cluster.running(web).into_iter().find(|task| task.node == Some(bad));
        let task = task.expect("one runs there").id;
        cluster.report(task, ObservedState::Failed);
        failures += 1;
        cluster.settle();
    }
    assert_eq!(failures, 5);
    assert_eq!(cluster.running(web).len(), 2);
}
